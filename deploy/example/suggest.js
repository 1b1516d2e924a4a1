// Suggestions under the search box: a combobox with a list (WAI-ARIA).

import { get, marked } from "./api.js";

const WAIT = 80; // milliseconds after a key, so that fast typing asks once
const input = document.querySelector("#q");
const list = document.querySelector("#suggestions");
let chosen = -1;
let timer;
let asking = new AbortController();

/** Suggest while the reader types; calls `search` when one was chosen. */
export function suggest(search) {
  input.addEventListener("input", () => {
    mark(-1); // what was chosen belongs to other letters
    clearTimeout(timer);
    timer = setTimeout(ask, WAIT);
  });
  input.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (list.hidden || !(step || event.key === "Escape")) return;
    event.preventDefault(); // Escape would empty the field, too
    if (!step) return close();
    const count = list.children.length;
    mark((chosen + step + 1 + count + 1) % (count + 1) - 1); // -1 is what was typed
  });
  input.addEventListener("blur", close);
  // Before the blur, which would close the list.
  list.addEventListener("pointerdown", (event) => event.preventDefault());
  list.addEventListener("click", (event) => {
    const option = event.target.closest("[role=option]");
    if (!option) return;
    mark([...list.children].indexOf(option));
    search();
  });
}

/** The filter of the category or brand that is chosen, if one is. */
export function filterOf() {
  return list.children[chosen]?.dataset.filter;
}

/** Close the list, also if the answer is still to come. */
export function close() {
  clearTimeout(timer);
  asking.abort();
  list.hidden = true;
  mark(-1);
  input.setAttribute("aria-expanded", "false");
}

async function ask() {
  asking.abort();
  asking = new AbortController();
  const q = input.value.trim();
  if (!q) return close();
  const answer = await get("/v1/suggest", { q, k: 8 }, asking.signal).catch(() => null);
  if (!answer) return; // searching works without
  list.replaceChildren(...answer.suggestions.map(option));
  list.hidden = !answer.suggestions.length;
  input.setAttribute("aria-expanded", String(!list.hidden));
  mark(-1);
}

function option({ text, kind, filter, highlights = [] }, place) {
  const found = document.createElement("li");
  Object.assign(found, { id: `suggestion-${place}`, role: "option" });
  found.dataset.text = kind === "category" ? text.split(">").at(-1).trim() : text;
  found.dataset.filter = filter ?? "";
  const shown = document.createElement("span");
  shown.append(...marked(text, highlights));
  const what = document.createElement("span");
  what.className = "kind";
  what.textContent = { brand: "brand", category: "category", title: "item" }[kind] ?? "";
  found.append(shown, what);
  return found;
}

function mark(place) {
  chosen = place;
  [...list.children].forEach((each, at) => each.setAttribute("aria-selected", String(at === place)));
  const option = list.children[place];
  if (!option) return input.removeAttribute("aria-activedescendant");
  input.setAttribute("aria-activedescendant", option.id);
  input.value = option.dataset.text;
  option.scrollIntoView({ block: "nearest" });
}
