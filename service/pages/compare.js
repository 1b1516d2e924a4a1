// The side-by-side page: two systems, one query, and a judge with a keyboard.

import { Failure, get } from "./api.js";
import { titleOf } from "./card.js";
import { calling, column, mark, neighbour, overlapText, verdictOf } from "./columns.js";
import { el, kept, plain, said, typing } from "./dom.js";
import { Judgments, keyOf, outbox } from "./judging.js";
import { SYSTEM_NAMES } from "./names.js";
import { suggesting } from "./suggest.js";
import { announce, failurePanel, showNotes, watchConnection } from "./states.js";

const SHOWN = 12; // results of each system
const OFFERED = Object.keys(SYSTEM_NAMES);
const KEYS = { r: "relevant", i: "irrelevant", s: "skipped" };

const $ = (id) => document.getElementById(id);
const [form, state, body, bar] = ["form", "state", "body", "bar"].map($);
let view = { cards: [], columns: [], answer: null };
let at = null; // the card that keys judge
let mine = null; // Judgments of the judge for the query shown
let newest = 0;

async function show({ focus = false } = {}) {
  const asked = fromAddress();
  form.elements.q.value = asked.q;
  for (const side of ["a", "b"]) fillSelect($(side), asked[side]);
  $("to-search").href = asked.q ? `/?q=${encodeURIComponent(asked.q)}` : "/";
  if (!asked.q) return showStart();
  document.title = `${plain(asked.q)} · Compare · OmniSearch`;
  $("heading").replaceChildren("“", said(asked.q), "”");
  const number = ++newest;
  state.replaceChildren();
  $("results").setAttribute("aria-busy", "true");
  const slow = setTimeout(() => state.replaceChildren(el("p", { class: "soft" }, "Both systems are being asked …")), 400);
  try {
    const answer = await get("/v1/compare", { ...asked, k: SHOWN });
    if (number !== newest) return;
    state.replaceChildren();
    render(answer);
    if (focus) move(firstOpen() ?? view.cards[0], true);
  } catch (error) {
    if (number === newest) showFailure(error);
  } finally {
    clearTimeout(slow);
    if (number === newest) $("results").removeAttribute("aria-busy");
  }
}

function fromAddress() {
  const given = new URLSearchParams(location.search);
  const a = given.get("a") || "token";
  const b = given.get("b") || (a === "full" ? "token" : "full");
  return { q: (given.get("q") ?? "").trim(), a, b };
}

function fillSelect(select, chosen) {
  const names = OFFERED.includes(chosen) ? OFFERED : [...OFFERED, chosen];
  select.replaceChildren(...names.map((name) => el("option", { value: name }, SYSTEM_NAMES[name] ?? plain(name))));
  select.value = chosen;
}

function showStart() {
  body.hidden = bar.hidden = true;
  document.title = "Compare · OmniSearch";
  $("heading").textContent = "Two systems, side by side";
  state.replaceChildren(
    el("section", { class: "hero" }, el("p", {}, "Ask both the same, see what they share, and say which results are relevant: with a mouse, a finger or the keyboard.")),
  );
  form.elements.q.focus();
}

function showFailure(error) {
  const failure = error instanceof Failure ? error : new Failure("fault", "This page could not show the answer.");
  if (failure !== error) console.error(error);
  body.hidden = bar.hidden = true;
  showNotes($("notes"), []);
  state.replaceChildren(failurePanel(failure, () => show()));
  announce(`${failure.what} ${failure.how}`);
}

function render(answer) {
  if (answer.columns.length < 2) {
    throw new Failure("input", "A system compared with itself shows nothing.", "", "Choose two different ones.");
  }
  const ranks = answer.columns.map((data) => new Map(data.hits.map((hit) => [keyOf(hit), hit.rank])));
  const columns = answer.columns.map((data, place) => ({ data, ...column(data, ranks[1 - place], onButton) }));
  view = { answer, columns, cards: columns.flatMap((one) => one.cards) };
  $("columns").replaceChildren(...columns.map((one) => one.section));
  $("overlap").textContent = overlapText(answer.columns);
  showNotes($("notes"), answer.notes);
  showRelated(answer);
  body.hidden = false;
  bar.hidden = !view.cards.length;
  for (const card of view.cards) card.element.addEventListener("focusin", () => point(card));
  for (const card of view.cards) card.element.addEventListener("click", () => point(card));
  at = null;
  changeJudge();
  point(firstOpen() ?? view.cards[0]);
  announce(`${view.cards.length} results in two columns, ${overlapText(answer.columns)}.`);
}

function showRelated({ related, columns }) {
  const [a, b] = columns.map((data) => data.system);
  $("related").hidden = !related.length;
  $("related").querySelector("ul").replaceChildren(
    ...related.map((q) => el("li", {}, el("a", { href: `/compare?${new URLSearchParams({ q, a, b })}` }, said(q)))),
  );
}

/** The highest grade of the data set that an item's id names by its prefix. */
function topGrade(hit) {
  const tops = view.answer.top_grades ?? {};
  return tops[hit.id.includes(":") ? hit.id.split(":")[0] : ""] || 1;
}

function changeJudge() {
  mine = view.answer && new Judgments($("judge").value.trim(), view.answer.query, topGrade);
  refresh();
}

/** All results once, in the order of judging: places interleaved, left first. */
function inOrder() {
  const found = new Map();
  const cards = [...view.cards].sort((one, other) => one.hit.rank - other.hit.rank);
  for (const card of cards) if (!found.has(keyOf(card.hit))) found.set(keyOf(card.hit), card);
  return [...found.values()];
}

/** The next result after the marked one that nobody here has judged, from the start if need be. */
function firstOpen() {
  const order = inOrder();
  const start = at ? order.findIndex((card) => keyOf(card.hit) === keyOf(at.hit)) + 1 : 0;
  return [...order.slice(start), ...order.slice(0, start)].find((card) => !mine.of(card.hit)) ?? null;
}

function refresh() {
  if (!mine) return;
  for (const card of view.cards) mark(card, mine.of(card.hit));
  for (const one of view.columns) {
    one.tally(one.data.hits.map((hit) => verdictOf(hit, mine.of(hit)).verdict));
  }
  const order = inOrder();
  const of = (verdict) => order.filter((card) => mine.of(card.hit) === verdict).length;
  const [good, bad, skipped] = ["relevant", "irrelevant", "skipped"].map(of);
  $("progress").max = order.length || 1;
  $("progress").value = good + bad + skipped;
  $("tally").textContent = `${good + bad} of ${order.length} judged${skipped ? `, ${skipped} skipped` : ""}`;
  $("undo").disabled = !mine.history.length;
}

/** Mark a card as the one that is judged next. */
function point(card) {
  if (!card) return;
  for (const other of view.cards) {
    other.element.tabIndex = other === card ? 0 : -1;
    other.element.removeAttribute("aria-current");
  }
  at = card;
  card.element.setAttribute("aria-current", "true");
  const system = view.columns.find((one) => one.cards.includes(card)).data.system;
  $("current").textContent = calling(card, SYSTEM_NAMES[system] ?? system);
}

/** Mark a card and bring it into view, with the focus if the reader uses the keyboard there. */
function move(card, focus) {
  if (!card) return;
  point(card);
  if (focus) card.element.focus({ preventScroll: true });
  card.element.scrollIntoView({ block: "nearest", behavior: "instant" });
}

function onButton(hit, verdict) {
  const card = view.cards.find((one) => one.hit === hit);
  point(card);
  judge(mine.of(hit) === verdict ? undefined : verdict, false);
}

/** Judge the marked result, and go on to the next open one. */
function judge(verdict, goOn = true) {
  if (!at) return;
  if (verdict !== "skipped" && !named()) return;
  const title = titleOf(at.hit);
  mine.judge_(at.hit, verdict);
  refresh();
  if (!goOn) return announce(`${verdict ?? "Taken back"}: ${title}`);
  const next = firstOpen();
  const inCards = $("columns").contains(document.activeElement) || document.activeElement === document.body;
  if (next) move(next, inCards);
  announce(`${verdict}: ${title}. ${next ? `Next: ${$("current").textContent}` : "All results are judged. Thank you."}`);
}

function named() {
  const field = $("judge");
  if (field.value.trim()) return true;
  announce("Give your name as judge first.");
  field.setAttribute("aria-invalid", "true");
  field.focus();
  return false;
}

function undo() {
  const hit = mine?.undo();
  if (!hit) return;
  refresh();
  const card = view.cards.find((one) => keyOf(one.hit) === keyOf(hit));
  move(card, $("columns").contains(document.activeElement));
  announce(`Taken back: ${titleOf(hit)}`);
}

function showUnsent() {
  const { waiting, failure } = outbox;
  const note = $("unsent");
  note.hidden = !failure;
  if (!failure) return note.replaceChildren();
  const left = waiting.length ? `${waiting.length} not sent yet, kept in this browser. ` : "Not taken. ";
  note.replaceChildren(left, said(failure.what), " ", el("button", { type: "button", onclick: () => outbox.flush() }, "Send again"));
}

function submit(event) {
  event?.preventDefault();
  const asked = Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, value.trim()]));
  history.pushState(null, "", `/compare?${new URLSearchParams(asked)}`);
  show({ focus: Boolean(event) });
}

function chooseSystem(side, other) {
  const before = fromAddress()[side];
  if ($(side).value === $(other).value) $(other).value = before; // the same twice: they swap
  submit();
}

suggesting(form, $("suggestions"));
form.addEventListener("submit", submit);
$("a").addEventListener("change", () => chooseSystem("a", "b"));
$("b").addEventListener("change", () => chooseSystem("b", "a"));
$("swap").addEventListener("click", () => {
  [$("a").value, $("b").value] = [$("b").value, $("a").value];
  submit();
});
$("relevant").addEventListener("click", () => judge("relevant"));
$("irrelevant").addEventListener("click", () => judge("irrelevant"));
$("skip").addEventListener("click", () => judge("skipped"));
$("undo").addEventListener("click", undo);
$("judge").value = kept.get("judge") ?? "";
$("judge").addEventListener("input", (event) => {
  event.target.removeAttribute("aria-invalid");
  kept.set("judge", event.target.value.trim());
  changeJudge();
});
$("judge").addEventListener("keydown", (event) => {
  if (event.key === "Enter") move(at, true);
});
$("keys").checked = kept.get("keys") !== "off";
$("keys").addEventListener("change", (event) => kept.set("keys", event.target.checked ? "on" : "off"));
addEventListener("keydown", (event) => {
  if (bar.hidden || !$("keys").checked || typing(event)) return;
  const pressed = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (KEYS[pressed] && !event.repeat) judge(KEYS[pressed]);
  else if (pressed === "u") undo();
  else if (pressed.startsWith("Arrow")) move(neighbour(view.cards, at, pressed) ?? at, true);
  else return;
  event.preventDefault();
});
addEventListener("popstate", () => show());
outbox.changed = showUnsent;
watchConnection(() => outbox.flush());
outbox.flush();
show();
