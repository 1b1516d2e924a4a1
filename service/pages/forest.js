// Effects with their intervals: as a forest plot, and over days. Texts become text nodes only.

import { plain } from "./dom.js";

const [WIDTH, ROW, LABEL, SIDE, FOOT] = [420, 26, 118, 14, 22];
const [DAYS_HEIGHT, DAYS_LEFT] = [170, 48];

function svg(tag, attributes, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = plain(text);
  return element;
}

/** A share as a signed percentage: "+1.2%". */
export function lift(share) {
  if (!Number.isFinite(share)) return "–";
  return `${share > 0 ? "+" : share < 0 ? "−" : ""}${Math.abs(100 * share).toFixed(1)}%`;
}

/** A step of 1, 2 or 5 times a power of ten, with at most `most` of them in `span`. */
function stepOf(span, most) {
  const power = 10 ** Math.floor(Math.log10(span / most));
  return power * ([1, 2, 5, 10].find((times) => times * power * most >= span) ?? 10);
}

function marksOf(low, high, most) {
  const step = stepOf(high - low, most);
  const marks = [];
  for (let at = Math.ceil(low / step); at * step <= high + 1e-12; at += 1) marks.push(at * step);
  return marks;
}

/** The ends of an axis: all estimates, and intervals as far as they stay within three times these. */
function reach(rows) {
  const most = Math.max(0.01, ...rows.map(({ value }) => 3 * Math.abs(value)));
  const ends = rows.flatMap(({ value, low, high }) => [value, Math.max(low, -most), Math.min(high, most)]);
  const [low, high] = [Math.min(0, ...ends), Math.max(0, ...ends)];
  const edge = 0.04 * (high - low);
  return [low - edge, high + edge];
}

function finite(rows) {
  return rows.filter(({ value, low, high }) => [value, low, high].every(Number.isFinite));
}

/**
 * A row for each effect: its value as a point, its interval as a line.
 * @param {{name: string, value: number, low: number, high: number}[]} all
 */
export function forestPlot(label, all) {
  const rows = finite(all);
  if (!rows.length) return null;
  const height = rows.length * ROW + FOOT;
  const told = rows.map(({ name, value, low, high }) => `${plain(name)} ${lift(value)}, ${lift(low)} to ${lift(high)}`);
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": `${plain(label)}: ${told.join("; ")}.` });
  const [from, to] = reach(rows);
  const x = (share) => LABEL + ((WIDTH - LABEL - SIDE) * (Math.min(Math.max(share, from), to) - from)) / (to - from);
  for (const mark of marksOf(from, to, 4)) {
    const zero = Math.abs(mark) < 1e-12;
    drawing.append(svg("line", { class: zero ? "zero" : "grid", x1: x(mark), x2: x(mark), y1: 2, y2: height - FOOT + 4 }));
    drawing.append(svg("text", { class: "mark-of", x: x(mark), y: height - 5, "text-anchor": "middle" }, lift(mark)));
  }
  rows.forEach(({ name, value, low, high }, place) => {
    const [y, sure] = [place * ROW + ROW / 2, low > 0 || high < 0 ? " sure" : ""];
    const short = [...plain(name)].length > 20 ? `${[...plain(name)].slice(0, 19).join("")}…` : name;
    drawing.append(svg("text", { x: LABEL - 10, y: y + 4, "text-anchor": "end" }, short));
    drawing.append(svg("line", { class: `range${sure}`, x1: x(low), x2: x(high), y1: y, y2: y }));
    drawing.append(svg("circle", { class: `dot${sure}`, cx: x(value), cy: y, r: 4.5 }));
  });
  return drawing;
}

/**
 * An effect up to the end of each day, with the band of its interval.
 * @param {{day: number, lift: number, low: number, high: number}[]} days
 */
export function dayPlot(label, days) {
  const rows = finite(days.map(({ day, lift: value, low, high }) => ({ day, value, low, high })));
  if (rows.length < 2) return null;
  const last = rows.at(-1);
  const said = `${plain(label)}: on day ${last.day + 1} ${lift(last.value)}, ${lift(last.low)} to ${lift(last.high)}.`;
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${DAYS_HEIGHT}`, role: "img", "aria-label": said });
  const [from, to] = reach(rows);
  const floor = DAYS_HEIGHT - FOOT;
  const x = (day) => DAYS_LEFT + ((WIDTH - DAYS_LEFT - SIDE) * (day - rows[0].day)) / (last.day - rows[0].day);
  const y = (share) => 6 + ((floor - 6) * (to - Math.min(Math.max(share, from), to))) / (to - from);
  const point = (day, share) => `${x(day).toFixed(1)},${y(share).toFixed(1)}`;
  const upper = rows.map(({ day, high }) => point(day, high));
  const lower = rows.map(({ day, low }) => point(day, low)).reverse();
  drawing.append(svg("polygon", { class: "band", points: [...upper, ...lower].join(" ") }));
  for (const mark of marksOf(from, to, 4)) {
    const zero = Math.abs(mark) < 1e-12;
    drawing.append(svg("line", { class: zero ? "zero" : "grid", x1: DAYS_LEFT, x2: WIDTH - SIDE, y1: y(mark), y2: y(mark) }));
    drawing.append(svg("text", { class: "mark-of", x: DAYS_LEFT - 6, y: y(mark) + 4, "text-anchor": "end" }, lift(mark)));
  }
  drawing.append(svg("polyline", { class: "line", points: rows.map(({ day, value }) => point(day, value)).join(" ") }));
  drawing.append(svg("text", { class: "mark-of", x: DAYS_LEFT, y: DAYS_HEIGHT - 5 }, `day ${rows[0].day + 1}`));
  drawing.append(svg("text", { class: "mark-of", x: WIDTH - SIDE, y: DAYS_HEIGHT - 5, "text-anchor": "end" }, `day ${last.day + 1}`));
  return drawing;
}
