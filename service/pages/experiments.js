// The page of experiments: all of them, and the report of one, from /v1/experiments.

import { Failure, get } from "./api.js";
import { count, counted, el, plain, said } from "./dom.js";
import { dayPlot, forestPlot, lift } from "./forest.js";
import { announce, failurePanel, watchConnection } from "./states.js";

const WAITING = 1500; // milliseconds until a report that is being made is asked for again
const AGAIN = 60000; // and one that is there

const $ = (id) => document.getElementById(id);
let timer = 0;
let spoken = "";

async function refresh() {
  clearTimeout(timer);
  try {
    const { experiments } = await get("/v1/experiments");
    const name = new URLSearchParams(location.search).get("name") ?? chosen(experiments);
    const found = name && (await get(`/v1/experiments/${encodeURIComponent(name)}`));
    $("state").replaceChildren();
    showList(experiments, name);
    if (found) showReport(found);
    else $("report").replaceChildren(el("p", { class: "panel message" }, "There are no experiments yet: ", el("code", {}, "omnisearch experiment create"), " makes one."));
    if (!document.hidden) timer = setTimeout(refresh, found?.making ? WAITING : AGAIN);
  } catch (error) {
    const failure = error instanceof Failure ? error : new Failure("fault", "This page could not show the answer.");
    if (failure !== error) console.error(error);
    announce(failure.what);
    $("state").replaceChildren(failurePanel(failure, refresh));
  }
}

function chosen(experiments) {
  return (experiments.find(({ state }) => state === "running") ?? experiments[0])?.name;
}

function showList(experiments, name) {
  const rows = experiments.map((each) =>
    el(
      "tr",
      { "aria-current": each.name === name && "true" },
      el("th", { scope: "row" }, el("a", { href: `/experiments?name=${encodeURIComponent(each.name)}` }, said(each.name))),
      el("td", {}, each.state === "running" ? `running, ${each.traffic}% of the users` : each.state),
      el("td", {}, new Date(1000 * each.since).toLocaleString()),
      el("td", {}, said(each.variants.join(", "))),
    ),
  );
  const head = ["Name", "State", "Since", "Variants"].map((text) => el("th", { scope: "col" }, text));
  $("all").replaceChildren(el("thead", {}, el("tr", {}, head)), el("tbody", {}, rows));
  $("list").hidden = !rows.length;
}

function showReport(found) {
  const { report } = found;
  $("age").textContent = found.making ? "The report is being made" : found.age_seconds === null ? "" : `As of ${counted(Math.round(found.age_seconds), "second")} ago`;
  if (found.making && spoken !== found.name) announce("The report is being made.");
  spoken = found.making ? found.name : "";
  const parts = [el("h2", {}, said(found.name)), found.about && el("p", {}, said(found.about))];
  if (!report) {
    const text = found.why_not ? said(found.why_not) : "The report is being made; that takes longer the more searches are logged.";
    $("report").replaceChildren(el("section", {}, ...parts.filter(Boolean), el("p", { class: "panel message" }, text)));
    return;
  }
  parts.push(sentences(warnings(report), "warning"), counts(report));
  if (report.preference) parts.push(preference(report.preference, found.variants));
  else if (!report.comparisons.length) parts.push(el("p", {}, "There are too few users to compare the variants."));
  const sections = report.comparisons.map((each) => comparison(each, found));
  if (!report.preference) sections.push(relevance(report.name, report.relevance));
  if (report.segments.length) sections.push(segments(report.segments));
  const few = Object.entries(report.left_out).map(([kind, number]) => `${count(number)} by ${kind}`);
  if (few.length) sections.push(sentences([`Segments with fewer than 100 users in a variant are not shown: ${few.join(", ")}.`]));
  $("report").replaceChildren(el("section", {}, ...parts.filter(Boolean)), ...sections);
}

function warnings(report) {
  const found = [];
  if (!report.split_as_planned) found.push("The variants do not have their planned shares of the users: users are lost or doubled in one of them, and the figures are not to be trusted.");
  if (report.mixed) found.push(`${counted(report.mixed, "user")} had several variants, or one that is not known; their searches are left out.`);
  if (report.robots) found.push(`${counted(report.robots, "user")} searched more than anybody would and are left out.`);
  if (report.unknown) found.push(`${counted(report.unknown, "search", "searches")} that events name are not in the log.`);
  return found;
}

function sentences(texts, kind = "") {
  return texts.length ? el("div", { class: "sentences" }, texts.map((text) => el("p", { class: kind }, text))) : null;
}

function counts({ users, searches, days }) {
  const rows = Object.keys(users).map((name) => [said(name), count(users[name]), count(searches[name])]);
  return el("div", {}, el("p", { class: "soft" }, `${counted(days, "day")}.`), table("Users and their searches", ["Variant", "Users", "Searches"], rows));
}

function preference({ share, wins, losses, ties, searches }, [, name]) {
  if (!searches || share.low === null) return el("p", {}, "Too few users have chosen a result that one variant alone had there.");
  return sentences([
    `In ${percent(share.value)} of ${count(searches)} searches users chose rather what ${plain(name)} had (95% interval at one look: ${percent(share.low)} to ${percent(share.high)}; half is no preference).`,
    `${counted(wins, "user")} prefer ${plain(name)}, ${count(losses)} the control, and ${count(ties)} neither.`,
  ]);
}

function comparison(each, { name, variants: [control] }) {
  const decided = each.deciding.relative;
  const sure = decided.low > 0 || decided.high < 0;
  const title = `${plain(each.variant)} beside ${plain(control)}`;
  const effects = each.lines.map(({ measure, effect: { relative } }) => ({ name: measure, ...relative }));
  return el(
    "section",
    { "aria-label": title },
    el("h2", {}, said(title)),
    sentences([
      decided.low === null
        ? "There is not enough to compare fulfilment."
        : `Fulfilment ${lift(decided.value)}, between ${lift(decided.low)} and ${lift(decided.high)} however often one looks: ${sure ? "this is no chance" : "this may be chance"}.`,
    ]),
    figure("Change of each measure, with 95% intervals of one look. Coloured ones leave out zero.", forestPlot(title, effects)),
    figure("Fulfilment’s change up to each day, with an interval that holds at any look.", dayPlot(`${title}, fulfilment by day`, each.course)),
    table(`Measures of ${plain(name)}`, ["Measure", control, each.variant, "Change", "95% interval", "p"].map(plain), each.lines.map(measured)),
  );
}

function relevance(name, judged) {
  const parts = [el("h2", {}, "Relevance")];
  if (!judged) {
    parts.push(el("p", {}, "Nobody has judged how relevant the first results are: ", el("code", {}, `omnisearch judge experiment ${name}`), " draws what the variants showed."));
  } else {
    const ask = el("code", {}, `omnisearch judge ask ${name} --judge NAME`);
    const lacking = `${count(judged.judged)} of ${counted(judged.queries, "drawn query", "drawn queries")} are judged; ${counted(judged.lacking, "pair")} ${judged.lacking === 1 ? "lacks" : "lack"} judgments`;
    parts.push(el("p", {}, lacking, judged.lacking ? ": " : ".", judged.lacking ? ask : ""));
    const head = ["Variant, measure", "Queries of the control", "Of the variant", "Of both", "Control", "Variant", "Difference", "95% interval"];
    if (judged.lines.length) parts.push(table(`Relevance of the first ${judged.k} results, by judges`, head, judged.lines.map(judgedRow)));
  }
  return el("section", { "aria-label": "Relevance" }, parts);
}

function judgedRow({ variant, measure, segment, share, judged, both, control, treatment, difference }) {
  const part = share === 1 ? "" : ` (${Math.round(100 * share)}% of the searches)`;
  const name = said(`${plain(variant)}, ${measure}: ${segment}${part}`);
  const counts = [...judged, both].map((number) => count(number));
  if (difference.low === null) return [name, ...counts, "too few", "–", "–", "–"];
  const change = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(3)}`;
  return [name, ...counts, control.value.toFixed(3), treatment.value.toFixed(3), change(difference.value), `${change(difference.low)} to ${change(difference.high)}`];
}

function segments(all) {
  const name = ({ variant, kind, value }) => `${plain(variant)}, ${kind}: ${plain(value)}`;
  const effects = all.map((each) => ({ name: `${each.kind}: ${plain(each.value)}`, ...each.effect.relative }));
  const rows = all.map((each) => {
    const { low, high, value } = each.effect.relative;
    const known = low !== null && high !== null;
    return [said(name(each)), count(each.effect.users[0] + each.effect.users[1]), lift(value), known ? `${lift(low)} to ${lift(high)}` : "–", pText(each.p_value)];
  });
  return el(
    "section",
    { "aria-label": "Segments" },
    el("h2", {}, "Segments"),
    sentences(["Segments are exploratory: p is corrected for their number, the intervals are not. What one suggests needs an experiment of its own."]),
    figure("Fulfilment’s change in each segment, with 95% intervals of one look.", forestPlot("Segments", effects)),
    table("Segments, a row each", ["Segment", "Users", "Fulfilment", "95% interval", "p"], rows),
  );
}

function pText(p) {
  return p === null ? "–" : p < 0.001 ? "<0.001" : p.toFixed(3);
}

function measured({ measure, effect: { control, treatment, relative }, p_value: p }) {
  const shown = /^(latency|revenue)/.test(measure) ? (value) => value.toFixed(2) : (value) => (value === null ? "–" : percent(value));
  const known = relative.low !== null && relative.high !== null;
  return [
    said(measure), shown(control.value), shown(treatment.value), lift(relative.value),
    known ? `${lift(relative.low)} to ${lift(relative.high)}` : "–",
    pText(p),
  ];
}

function percent(share) {
  return Number.isFinite(share) ? `${(100 * share).toFixed(2)}%` : "–";
}

function figure(caption, drawing) {
  return drawing && el("figure", { class: "forest" }, el("figcaption", {}, caption), drawing);
}

function table(label, head, rows) {
  return el(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": label },
    el(
      "table",
      {},
      el("thead", {}, el("tr", {}, head.map((text) => el("th", { scope: "col" }, text)))),
      el("tbody", {}, rows.map(([first, ...rest]) => el("tr", {}, el("th", { scope: "row" }, first), rest.map((cell) => el("td", {}, cell))))),
    ),
  );
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) clearTimeout(timer);
  else refresh();
});
watchConnection(refresh);
refresh();
