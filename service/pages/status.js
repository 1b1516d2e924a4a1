// The status page: /v1/status as figures and charts, asked again every few seconds.

import { Failure, get } from "./api.js";
import { latencyChart } from "./chart.js";
import { count, counted, el, msText, plain, said } from "./dom.js";
import { announce, failurePanel, showNotes, watchConnection } from "./states.js";

const EVERY = 5000; // milliseconds
const NAMES = {
  search: "Search",
  embed: "Embedding",
  embed_batch: "Embedding, batches",
  compare: "Compare",
  related: "Related",
  similar: "Similar",
  feedback: "Feedback",
  judgments: "Judgments",
  items: "Items",
  status: "Status",
  experiments: "Experiments",
  pictures: "Pictures",
  pages: "Pages",
  other: "Other",
};
const CHARTED = ["search", "embed", "embed_batch", "compare", "similar", "related"];

const $ = (id) => document.getElementById(id);
let paused = false;
let asked = 0; // when the figures shown came, milliseconds
let timer = 0;

async function refresh() {
  clearTimeout(timer);
  try {
    const status = await get("/v1/status");
    asked = Date.now();
    $("state").replaceChildren();
    render(status);
    if ($("body").hidden) announce(`Generation ${status.generation} is live.`);
    $("body").hidden = false;
  } catch (error) {
    const failure = error instanceof Failure ? error : new Failure("fault", "This page could not show the answer.");
    if (failure !== error) console.error(error);
    if (!$("state").firstChild) announce(failure.what);
    $("state").replaceChildren(failurePanel(failure, refresh));
    $("body").hidden = !asked;
    if (failure.kind === "key") return; // asking again brings nothing
  }
  sayAge();
  if (!paused) timer = setTimeout(refresh, EVERY);
}

function sayAge() {
  if (!asked) return;
  const seconds = Math.round((Date.now() - asked) / 1000);
  $("age").textContent = paused || seconds > 8 ? `As of ${counted(seconds, "second")} ago` : "Up to date";
}

function render(status) {
  showNotes($("notes"), status.notes ?? []);
  showFacts(status);
  showCharts(status.history ?? {});
  showLatency(status.latency ?? {}, status.requests ?? {});
  showCache(status.cache ?? {});
  showWorkers(status.workers ?? []);
}

function showFacts({ generation, items = {}, cache = {}, workers = [], checkpoint_name: name, encoder, rankers, updates }) {
  const ready = workers.filter((worker) => worker.ready).length;
  const tiles = [
    ["Generation", generation, rankers ? "with rankers" : "with the starter ranker"],
    ...["pin", "product", "query"].map((entity) => [
      { pin: "Pins", product: "Products", query: "Related queries" }[entity], count(items[entity] ?? 0), null,
    ]),
    ["Cache hit rate", percent(cache.hit_rate), "of queries embedded since the start"],
    ["Workers", `${ready} of ${workers.length}`, "ready"],
    ["Query tower", plain(name ?? "–"), { OnnxQueries: "ONNX Runtime", Encoder: "PyTorch" }[encoder] ?? encoder],
  ];
  if (updates) {
    const behind = Math.round(updates.waiting_seconds);
    tiles.push(["Changes of items", behind ? `${counted(behind, "second")} behind` : "published", updates.pid ? null : "the updater does not run"]);
  }
  $("facts").replaceChildren(
    ...tiles.map(([term, value, more]) => el("div", {}, el("dt", {}, term), el("dd", {}, said(value)), more && el("dd", {}, said(more)))),
  );
}

function percent(share) {
  return share === null || share === undefined ? "–" : `${(100 * share).toFixed(1)}%`;
}

function showCharts(history) {
  const drawn = CHARTED.filter((name) => history[name]?.length);
  const now = Date.now() / 1000;
  $("charts").replaceChildren(
    ...drawn.map((name) => {
      const minutes = history[name];
      const now_ = Math.max(now, minutes.at(-1).time);
      const last = minutes.at(-1);
      return el(
        "figure",
        { class: "chart" },
        el("h3", {}, NAMES[name], el("span", { class: "soft" }, `p50 ${msText(last.p50_ms)}`)),
        latencyChart(NAMES[name], minutes, now_),
      );
    }),
  );
  if (!drawn.length) $("charts").replaceChildren(el("p", { class: "soft" }, "No search or embedding was asked for in the last minutes."));
}

function showLatency(latency, requests) {
  const names = Object.keys(NAMES).filter((name) => latency[name] || requests[name]);
  const faults = (name) =>
    Object.entries(requests[name] ?? {}).filter(([status]) => Number(status) >= 400).reduce((sum, [, number]) => sum + number, 0);
  const rows = names.map((name) => {
    const found = latency[name] ?? {};
    return [NAMES[name], count(found.requests ?? 0), msText(found.p50_ms), msText(found.p90_ms), msText(found.p99_ms), count(faults(name))];
  });
  table($("latency"), ["Endpoint", "Requests", "p50", "p90", "p99", "Errors since the start"], rows);
}

function showCache(cache) {
  const { store = {} } = cache;
  const asked_ = [
    ["Answered from memory", count(cache.memory_hits ?? 0)],
    ["Answered from the store", count(cache.store_hits ?? 0)],
    ["Encoded by the model", count(cache.encoded ?? 0)],
    ["Joined another’s encoding", count(cache.joined ?? 0)],
    ["Refused: the model was busy", count(cache.refused ?? 0)],
    ["Model batches", count(cache.model_batches ?? 0)],
    ["Time in the model", `${(cache.model_seconds ?? 0).toFixed(2)} s`],
    ["Embeddings in the store", count(store.entries ?? 0)],
    ["Oldest", days(store.oldest_days)],
    ["Kept for", days(store.ttl_days)],
  ];
  $("cache").replaceChildren(...asked_.map(([term, value]) => el("div", {}, el("dt", {}, term), el("dd", {}, value))));
}

function days(number) {
  return number === null || number === undefined ? "–" : `${number.toFixed(number < 10 ? 1 : 0)} days`;
}

function showWorkers(workers) {
  const rows = workers.map((worker) => [
    String(worker.pid),
    worker.ready ? "ready" : "not ready",
    String(worker.generation),
    upText(worker.up_seconds),
    count(worker.restarts),
    `${count(Math.round(worker.resident_mb))} MB`,
    count(worker.connections),
  ]);
  table($("workers"), ["Process", "State", "Generation", "Up", "Restarts", "Memory", "Connections"], rows);
}

function upText(seconds) {
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

function table(element, head, rows) {
  element.replaceChildren(
    el("thead", {}, el("tr", {}, head.map((name) => el("th", { scope: "col" }, name)))),
    el("tbody", {}, rows.map(([first, ...rest]) => el("tr", {}, el("th", { scope: "row" }, first), rest.map((cell) => el("td", {}, cell))))),
  );
}

$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  if (paused) clearTimeout(timer);
  else refresh();
  sayAge();
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) clearTimeout(timer);
  else if (!paused) refresh();
});
setInterval(sayAge, 1000);
watchConnection(refresh);
refresh();
