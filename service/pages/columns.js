// The two columns of a comparison.

import { facts, frame, heading, titleOf } from "./card.js";
import { counted, el, msText } from "./dom.js";
import { keyOf } from "./judging.js";
import { SYSTEM_NAMES, WHAT } from "./names.js";

const SIGNS = { relevant: ["✓", "good"], irrelevant: ["✗", "bad"] };

/** What is known of a result: the reader's own verdict, else that of the judges; a skip is none. */
export function verdictOf(hit, mine) {
  if (mine && mine !== "skipped") return { verdict: mine, own: true };
  if (hit.relevant === null) return { verdict: null, own: false };
  return { verdict: hit.relevant ? "relevant" : "irrelevant", own: false };
}

/** One column: its heading, its tally and its cards; `judge(hit, verdict, card)` on a button. */
export function column(data, ranksElsewhere, judge) {
  const title = el("h2", { id: `column-${data.system}` }, SYSTEM_NAMES[data.system] ?? data.system);
  const share = el("div", { class: "share", "aria-hidden": "true" });
  const counts = el("p", { class: "counts" });
  const cards = data.hits.map((hit) => resultCard(hit, ranksElsewhere.get(keyOf(hit)), judge));
  const list = el("ol", { class: "cards", "aria-labelledby": `column-${data.system}` }, cards.map((card) => card.element));
  const section = el(
    "section",
    { class: "column", "aria-labelledby": `column-${data.system}` },
    el("header", {}, title, el("span", { class: "soft" }, msText(data.took_ms))),
    el("p", { class: "soft" }, WHAT[data.system] ?? ""),
    share,
    counts,
    data.hits.length ? list : el("p", { class: "soft" }, "This system found nothing."),
  );
  const tally = (verdicts) => showTally(share, counts, verdicts, data);
  return { section, cards, tally };
}

function showTally(share, counts, verdicts, { ndcg, condensed_ndcg: condensed }) {
  const of = (wanted) => verdicts.filter((verdict) => verdict === wanted).length;
  const [good, bad] = [of("relevant"), of("irrelevant")];
  const none = verdicts.length - good - bad;
  share.replaceChildren(
    ...[["good", good], ["bad", bad], ["", none]].map(([name, number]) => {
      const part = el("span", { class: name });
      part.style.flexGrow = String(number);
      part.hidden = !number;
      return part;
    }),
  );
  counts.replaceChildren(
    ...[
      good && el("span", { class: "good" }, `✓ ${good} relevant`),
      bad && el("span", { class: "bad" }, `✗ ${bad} irrelevant`),
      none && el("span", {}, `${none} not judged`),
      ndcg !== null &&
        el(
          "span",
          { title: "by the judgments in the catalogue" },
          `nDCG@10 ${ndcg.toFixed(3)}, without the unjudged ${condensed.toFixed(3)}`,
        ),
    ].filter(Boolean),
  );
}

function resultCard(hit, elsewhere, judge) {
  const picture = frame(hit);
  picture.prepend(el("span", { class: "badge", "aria-hidden": "true" }, hit.rank));
  const sign = el("span", { class: "verdict" });
  picture.append(sign);
  const buttons = ["relevant", "irrelevant"].map((verdict) => verdictButton(hit, verdict, judge));
  const both = elsewhere && el("p", { class: "both" }, el("span", { "aria-hidden": "true" }, `⇄ ${elsewhere}`), el("span", { class: "unseen" }, `also at place ${elsewhere} in the other column`));
  const element = el(
    "li",
    { class: "result", tabindex: "-1" },
    picture,
    heading(hit),
    facts(hit),
    hit.is_ad && el("p", { class: "facts" }, "Ad"),
    both,
    el("div", { class: "toggle", role: "group", "aria-label": `Judge ${titleOf(hit)}` }, buttons),
  );
  return { hit, element, sign, buttons };
}

function verdictButton(hit, verdict, judge) {
  const [sign, name] = SIGNS[verdict];
  return el(
    "button",
    { type: "button", class: name, "aria-pressed": "false", onclick: () => judge(hit, verdict) },
    el("span", { "aria-hidden": "true" }, sign),
    el("span", { class: "unseen" }, verdict === "relevant" ? "Relevant" : "Irrelevant"),
  );
}

/** Put a card's marks: a sign with a word, a line of its own kind, the pressed button. */
export function mark(card, mine) {
  const { verdict, own } = verdictOf(card.hit, mine);
  const [sign, name] = SIGNS[verdict] ?? ["", ""];
  card.element.classList.remove("good", "bad", "skipped");
  const skipped = mine === "skipped";
  if (name) card.element.classList.add(name);
  if (skipped) card.element.classList.add("skipped");
  const words = [verdict && `${sign} ${own ? "you: " : ""}${verdict}`, skipped && "skipped"].filter(Boolean);
  card.sign.hidden = !words.length;
  card.sign.textContent = words.join(" · ");
  card.buttons.forEach((button, place) => {
    button.setAttribute("aria-pressed", String(mine === ["relevant", "irrelevant"][place]));
  });
}

/** How a card is called in the bar and to screen readers. */
export function calling(card, systems) {
  return `${systems} ${card.hit.rank}: ${titleOf(card.hit)}`;
}

/** The card nearest to another in a direction; null at an edge. */
export function neighbour(cards, from, direction) {
  const here = middle(from);
  const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[direction];
  let best = null;
  let least = Infinity;
  for (const card of cards) {
    const there = middle(card);
    const along = (there.x - here.x) * dx + (there.y - here.y) * dy;
    const across = Math.abs((there.x - here.x) * dy) + Math.abs((there.y - here.y) * dx);
    if (card === from || along < 8) continue;
    const far = along + 3 * across;
    if (far < least) [best, least] = [card, far];
  }
  return best;
}

function middle(card) {
  const box = card.element.getBoundingClientRect();
  return { x: box.x + box.width / 2, y: box.y + box.height / 2 };
}

/** "6 of 12 shared". */
export function overlapText(columns) {
  const [left, right] = columns.map((data) => new Set(data.hits.map(keyOf)));
  const shared = [...left].filter((key) => right.has(key)).length;
  return `${counted(shared, "result")} in both`;
}
