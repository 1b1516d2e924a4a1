// The search box suggests while somebody types: a combobox with a listbox, as ARIA describes them.

import { get } from "./api.js";
import { counted, el, marked, plain } from "./dom.js";
import { announce } from "./states.js";

const WAIT = 120; // milliseconds without a key before the service is asked
const KINDS = { category: "Category", brand: "Brand", title: "Item" };

/**
 * Let a form's search box suggest. A chosen text is put into it, and `chosen` is called with the
 * filter that it stands for, if any; without `chosen` the form is sent.
 */
export function suggesting(form, list, chosen = () => form.requestSubmit()) {
  const box = form.elements.q;
  let [timer, running, shown, active] = [0, new AbortController(), [], -1];

  function close() {
    clearTimeout(timer);
    running.abort();
    shown = [];
    select(-1);
    list.hidden = true;
    list.replaceChildren();
    box.setAttribute("aria-expanded", "false");
  }

  function select(place) {
    list.children[active]?.setAttribute("aria-selected", "false");
    active = place;
    const option = list.children[place];
    if (!option) return box.removeAttribute("aria-activedescendant");
    option.setAttribute("aria-selected", "true");
    option.scrollIntoView({ block: "nearest" });
    box.setAttribute("aria-activedescendant", option.id);
  }

  async function ask() {
    running.abort();
    const mine = (running = new AbortController());
    const q = box.value;
    if (!q.trim()) return close();
    try {
      const answer = await get("/v1/suggest", { q, k: 8 }, mine.signal);
      if (!mine.signal.aborted && document.activeElement === box) open(answer.suggestions);
    } catch {
      if (!mine.signal.aborted) close(); // the search itself will say what is wrong
    }
  }

  function open(suggestions) {
    if (!suggestions.length) return close();
    shown = suggestions;
    list.replaceChildren(...suggestions.map(option));
    select(-1);
    list.hidden = false;
    list.scrollTop = 0;
    box.setAttribute("aria-expanded", "true");
    announce(`${counted(shown.length, "suggestion")}.`);
  }

  function option({ text, kind, highlights }, place) {
    const kindOf = KINDS[kind] && el("span", { class: "soft" }, KINDS[kind]);
    const properties = { role: "option", id: `suggestion-${place}`, "aria-selected": "false" };
    return el("li", properties, el("bdi", {}, marked(text, highlights)), kindOf);
  }

  function choose({ text, kind, filter }) {
    box.value = plain(kind === "category" ? text.split(">").at(-1) : text);
    close();
    chosen(filter);
  }

  const keys = {
    ArrowDown: () => select(active + 1 < shown.length ? active + 1 : -1),
    ArrowUp: () => select(active < 0 ? shown.length - 1 : active - 1),
    Escape: close,
    Enter: () => choose(shown[active]),
  };
  box.addEventListener("keydown", (event) => {
    if (event.key === "Tab") return close();
    if (event.isComposing || list.hidden || !keys[event.key]) return;
    if (event.key === "Enter" && active < 0) return;
    event.preventDefault();
    keys[event.key]();
  });
  box.addEventListener("input", () => {
    select(-1); // what was selected belongs to other letters
    clearTimeout(timer);
    timer = setTimeout(ask, WAIT);
  });
  box.addEventListener("blur", close);
  form.addEventListener("submit", close);
  list.addEventListener("mousedown", (event) => event.preventDefault()); // the box keeps the focus
  list.addEventListener("click", (event) => {
    const place = [...list.children].indexOf(event.target.closest("li"));
    if (place >= 0) choose(shown[place]);
  });
}
