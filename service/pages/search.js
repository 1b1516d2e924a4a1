// The search page: the address says what is searched; the form, chips and links change the address.

import { Failure, get } from "./api.js";
import { packed } from "./feed.js";
import { showFacets, showOrders } from "./facets.js";
import { blankCard, feedCard } from "./card.js";
import { SYSTEM_NAMES } from "./names.js";
import { counted, el, msText, plain, said } from "./dom.js";
import { opened } from "./engagement.js";
import { addressOf, fillForm, filteredBy, fromAddress, fromForm, NAMES, showActive } from "./filters.js";
import { suggesting } from "./suggest.js";
import { announce, degradedText, failurePanel, showNotes, watchConnection } from "./states.js";

const PAGE = 24;
const SLOW = 2500; // milliseconds until the page says that it is slow
const EXAMPLES = ["antique copper bathroom sink", "boho bedroom", "brautkleid", "編み物", "black leather boots"];

const [form, state, notes, heading, meta, related, more, earlier] = [
  "form", "state", "notes", "heading", "meta", "related", "more", "earlier",
].map((id) => document.getElementById(id));
const feed = packed(document.getElementById("feed"));
const aside = document.getElementById("facets");
if (matchMedia("(max-width: 54rem)").matches) aside.firstElementChild.open = false;
const area = document.getElementById("results");
let running = new AbortController();
let shown = { asked: {}, page: 1, last: 1 };

/** Search what the address says, and show it. */
async function show({ focus = false } = {}) {
  const asked = fromAddress();
  const given = new URLSearchParams(location.search);
  const like = given.get("like");
  const page = Math.max(1, Number.parseInt(given.get("page") ?? "1", 10) || 1);
  shown = { asked, page, last: page };
  fillForm(form, asked);
  showOrders(form.elements.sort, [], asked);
  showActive(document.getElementById("active"), asked);
  document.getElementById("to-compare").href = asked.q ? `/compare?q=${encodeURIComponent(asked.q)}` : "/compare";
  document.getElementById("filters").hidden = Boolean(like);
  if (!asked.q && !like) return showStart();
  area.classList.remove("start");
  document.title = `${plain(asked.q) || "More like this"} · OmniSearch`;
  heading.replaceChildren(...(like ? ["More like this"] : ["“", said(asked.q), "”"]));
  await load(() => (like ? findLike(given) : find(asked, page)), {}, (answer) => {
    feed.clear();
    render(answer, asked, page);
    if (focus) heading.focus({ preventScroll: true });
    if (focus) scrollTo({ top: 0 });
  });
}

function find(asked, page) {
  return get("/v1/search", { ...asked, facets: "auto", k: PAGE, page }, running.signal);
}

async function findLike(given) {
  const [entity, id] = [given.get("like"), given.get("id")];
  return get("/v1/similar", { entity, id, k: 2 * PAGE }, running.signal);
}

/** Run a call with the page's waiting states around it; the newest call wins. */
async function load(call, { adding = false } = {}, done = () => {}) {
  running.abort();
  const mine = (running = new AbortController());
  area.setAttribute("aria-busy", "true");
  state.replaceChildren();
  const blanks = setTimeout(() => {
    if (!adding) showBlanks();
  }, 150);
  const slow = setTimeout(() => {
    state.replaceChildren(el("p", { class: "soft" }, "Still searching: the service is slow at the moment."));
    announce("Still searching.");
  }, SLOW);
  try {
    const answer = await call();
    if (mine.signal.aborted) return;
    state.replaceChildren();
    done(answer);
  } catch (error) {
    if (mine.signal.aborted) return;
    showFailure(error, adding ? () => more.firstElementChild.click() : show);
    if (!adding) clearBoard();
  } finally {
    clearTimeout(blanks);
    clearTimeout(slow);
    if (mine === running) area.removeAttribute("aria-busy");
  }
}

function showBlanks() {
  clearBoard();
  feed.add(Array.from({ length: 12 }, blankCard));
}

function clearBoard() {
  feed.clear();
  meta.textContent = "";
  showNotes(notes, []);
  for (const part of [related, more, earlier, aside]) part.hidden = true;
}

function showFailure(error, again) {
  const failure = error instanceof Failure ? error : new Failure("fault", "This page could not show the answer.");
  if (failure !== error) console.error(error);
  state.replaceChildren(failurePanel(failure, again));
  announce(`${failure.what} ${failure.how}`);
}

/** Show one page of results; the first replaces what was there. */
function render(answer, asked, page) {
  if (!answer.hits.length && answer.degraded?.length) {
    throw new Failure("busy", "No source answered in time.", "", "The service may just have started.", 1);
  }
  const total = answer.total ?? answer.hits.length;
  feed.add(
    answer.hits.map((hit, place) => {
      const card = feedCard(hit, likeAddress(hit), place);
      if (asked.q) card.querySelector(".name a")?.addEventListener("click", () => opened(asked.q, hit, answer.request_id));
      return card;
    }),
  );
  showNotes(notes, [degradedText(answer.degraded), rulesText(asked, answer.rules), ...(answer.notes ?? []), ...world.notes]);
  meta.textContent = metaText(answer, total);
  showRelated(answer.related ?? [], asked);
  showFacets(aside, answer.facets ?? [], asked);
  showOrders(form.elements.sort, answer.facets ?? [], asked);
  form.elements.sort.parentElement.hidden = !asked.q;
  more.hidden = total <= page * PAGE || !answer.hits.length || !asked.q;
  more.firstElementChild.href = addressOf(asked, { page: page + 1 });
  earlier.hidden = shown.page <= 1 || !asked.q;
  earlier.firstElementChild.href = addressOf(asked, { page: Math.max(1, shown.page - 1) });
  if (!document.getElementById("feed").children.length) showNothing(asked, total, answer);
  const match = matchText(answer);
  announce(total ? `${counted(total, "result")}, ${counted(answer.hits.length, "is", "are")} shown.${match && ` ${match}.`}` : "No results.");
}

function rulesText(asked, names) {
  if (!asked.explain || !names) return null;
  return names.length ? `Rules that act: ${names.join(", ")}.` : "No rule acts on this search.";
}

/** How many items the search is about: results beyond these are only near it. Empty for items like one. */
function matchText({ matching, hits }) {
  if (matching === undefined || (!matching && !hits.length)) return "";
  return matching ? `${counted(matching, "item has", "items have")} all words` : "No item has all words";
}

function metaText(answer, total) {
  const parts = [matchText(answer), counted(total, "result"), `generation ${answer.generation}`].filter(Boolean);
  if (answer.took_ms !== undefined) parts.push(msText(answer.took_ms));
  if (answer.system && answer.system !== "full") parts.push(SYSTEM_NAMES[answer.system] ?? answer.system);
  return parts.join(" · ");
}

function likeAddress(hit) {
  return `/?${new URLSearchParams({ like: hit.entity, id: hit.id })}`;
}

function showRelated(list, asked) {
  related.hidden = !list.length;
  const rest = Object.fromEntries(Object.entries(asked).filter(([name]) => name !== "q"));
  related.querySelector("ul").replaceChildren(
    ...list.map(({ query }) => el("li", {}, el("a", { href: addressOf({ q: query, ...rest }), "data-search": true }, said(query)))),
  );
}

function showNothing(asked, total, answer) {
  const filtered = asked.filter || NAMES.slice(1).some((name) => !["explain", "sort"].includes(name) && asked[name]);
  const [what, how] = total
    ? ["There are no more results.", "This page is beyond the last one."]
    : ["Nothing was found.", filtered ? "The filters may be too narrow." : "Try fewer or other words."];
  const start = el("a", { class: "button", href: addressOf({ q: asked.q }), "data-search": true }, total ? "To the first page" : "Search without filters");
  state.replaceChildren(
    el("section", { class: "panel message" }, el("h2", {}, what), el("p", {}, how), answer.tried?.length > 0 && el("ul", {}, answer.tried.map((line) => el("li", {}, said(line)))), (filtered || total > 0) && el("p", {}, start)),
  );
}

const world = { notes: [], items: null };

async function learnWorld() {
  try {
    const answer = await get("/v1/status");
    world.items = answer.items ?? {};
    world.notes = answer.notes ?? [];
  } catch {
    // The search itself will say what is wrong.
  }
}

function showStart() {
  running.abort();
  clearBoard();
  document.title = "OmniSearch";
  area.classList.add("start");
  form.elements.sort.parentElement.hidden = true;
  heading.textContent = "What are you looking for?";
  showNotes(notes, world.notes);
  const held = world.items && `${counted(world.items.pin ?? 0, "pin")} and ${counted(world.items.product ?? 0, "product")} are searched by words and by meaning, in any language they are written in.`;
  const synthetic = world.notes.some((note) => note.startsWith("Synthetic"));
  const chips = EXAMPLES.map((query) => el("li", {}, el("a", { href: addressOf({ q: query }), "data-search": true }, said(query))));
  state.replaceChildren(
    el("section", { class: "hero" }, held && el("p", {}, held), synthetic && el("ul", { class: "chips", "aria-label": "Examples" }, chips)),
  );
  area.removeAttribute("aria-busy");
}

function go(address, options) {
  history.pushState(null, "", address);
  show(options);
}

suggesting(form, document.getElementById("suggestions"), (filter) => {
  const asked = fromForm(form);
  go(addressOf(filter ? filteredBy(asked, filter) : asked));
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  go(addressOf(fromForm(form)));
});
for (const field of form.elements) {
  if (field.name && field.name !== "q") {
    field.addEventListener("change", () => fromForm(form).q && go(addressOf(fromForm(form))));
  }
}
document.getElementById("clear").addEventListener("click", () => {
  const { q, entity } = fromForm(form);
  go(addressOf({ q, entity }));
});
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a");
  const plainClick = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
  if (!link || !plainClick || !link.matches("[data-search], .like, #earlier a")) return;
  event.preventDefault();
  go(link.getAttribute("href"), { focus: true });
});
more.firstElementChild.addEventListener("click", (event) => {
  if (event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  const page = shown.last + 1;
  const before = document.getElementById("feed").children.length;
  load(() => find(shown.asked, page), { adding: true }, (answer) => {
    shown.last = page;
    render(answer, shown.asked, page);
    history.replaceState(null, "", addressOf(shown.asked, { page: page > 1 ? page : "" }));
    document.getElementById("feed").children[before]?.querySelector("a")?.focus();
  });
});
addEventListener("popstate", () => show());
watchConnection(() => state.querySelector(".bad") && show());
if (!fromAddress().q && !new URLSearchParams(location.search).has("like")) {
  heading.textContent = "What are you looking for?";
  form.elements.q.focus();
  learnWorld().then(show);
} else {
  learnWorld().then(() => showNotes(notes, [...[...notes.children].map((note) => note.textContent), ...world.notes]));
}
show();
