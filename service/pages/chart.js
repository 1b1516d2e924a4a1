// A small chart of latencies by minute: three lines, and the requests as bars below.

import { counted, msText } from "./dom.js";

const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BARS] = [360, 150, 44, 8, 8, 26];
const LINES = ["p50", "p90", "p99"];
const MINUTES = 15;

function svg(tag, attributes, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

/** Round bounds of a logarithmic axis: powers of ten times 1, 2 or 5 around the values. */
export function bounds(values) {
  const steps = [];
  for (let power = -3; power <= 5; power += 1) steps.push(10 ** power, 2 * 10 ** power, 5 * 10 ** power);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const from = steps.findLast((step) => step <= low) ?? steps[0];
  const to = steps.find((step) => step >= high && step > from) ?? steps.at(-1);
  return { from, to, marks: steps.filter((step) => step >= from && step <= to) };
}

/** Number of a mark, without the tail of binary fractions. */
function short(step) {
  return step >= 1000 ? `${step / 1000} s` : `${Number(step.toPrecision(1))}`;
}

/**
 * The chart of one endpoint.
 * @param {{time: number, requests: number, p50_ms: number, p90_ms: number, p99_ms: number}[]} minutes oldest first
 * @param {number} now seconds since 1970
 */
export function latencyChart(name, minutes, now) {
  const last = minutes.at(-1);
  const label = `${name}: in the last minute with requests p50 ${msText(last.p50_ms)}, p90 ${msText(last.p90_ms)}, p99 ${msText(last.p99_ms)}, ${counted(last.requests, "request")}.`;
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label });
  const end = Math.floor(now / 60) * 60;
  const x = (time) => LEFT + ((WIDTH - LEFT - RIGHT) * (MINUTES - (end - time) / 60)) / MINUTES;
  const floor = HEIGHT - BARS - 16;
  const values = minutes.flatMap((minute) => LINES.map((line) => Math.max(0.01, minute[`${line}_ms`])));
  const { from, to, marks } = bounds(values);
  const y = (ms) => floor - ((floor - TOP) * Math.log(Math.max(0.01, ms) / from)) / Math.log(to / from);
  const every = Math.ceil(marks.length / 5);
  marks.forEach((step, place) => {
    if (place % every) return;
    drawing.append(svg("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(step), y2: y(step) }));
    drawing.append(svg("text", { x: LEFT - 6, y: y(step) + 4, "text-anchor": "end" }, short(step)));
  });
  drawBars(drawing, minutes, x);
  for (const line of LINES) drawLine(drawing, line, minutes, x, y);
  drawing.append(svg("text", { x: LEFT, y: HEIGHT - BARS - 3 }, `${MINUTES} min ago`));
  drawing.append(svg("text", { x: WIDTH - RIGHT, y: HEIGHT - BARS - 3, "text-anchor": "end" }, "now"));
  return drawing;
}

function drawBars(drawing, minutes, x) {
  const most = Math.max(...minutes.map((minute) => minute.requests));
  const width = Math.max(2, (WIDTH - LEFT - RIGHT) / MINUTES - 4);
  for (const { time, requests } of minutes) {
    const height = Math.max(1, (BARS * requests) / most);
    drawing.append(svg("rect", { class: "bar-of", x: x(time) - width / 2, y: HEIGHT - height, width, height, rx: 2 }));
  }
}

function drawLine(drawing, line, minutes, x, y) {
  const point = (minute) => [x(minute.time), y(minute[`${line}_ms`])].map((at) => at.toFixed(1));
  for (const run of runs(minutes)) {
    const points = run.map((minute) => point(minute).join(",")).join(" ");
    drawing.append(svg("polyline", { class: `line ${line}`, points }));
    const [cx, cy] = point(run.at(-1));
    if (run.length === 1 || run.at(-1) === minutes.at(-1)) drawing.append(svg("circle", { class: `dot ${line}`, cx, cy, r: 3.5 }));
  }
}

/** Minutes that follow one another; a line across a minute without requests would be invented. */
function runs(minutes) {
  const found = [];
  for (const minute of minutes) {
    if (minute.time - (found.at(-1)?.at(-1).time ?? -Infinity) > 60) found.push([]);
    found.at(-1).push(minute);
  }
  return found;
}
