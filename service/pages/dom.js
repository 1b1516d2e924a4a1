// Elements from data. Text from the server becomes text nodes only: nothing here parses HTML.

const ODD = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g;
const TURNS = /[\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]/g;

/** Text on one line, without controls and without signs that turn the direction of what follows. */
export function plain(text) {
  return String(text ?? "").replace(ODD, " ").replace(TURNS, "").replace(/\s+/g, " ").trim();
}

/** An element with properties, then children: elements, or anything else as text. */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat()) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
  return element;
}

/** Text of strangers: cleaned, and in the direction of its own first letters. */
export function said(text) {
  return el("bdi", {}, plain(text));
}

/** Text with its ranges [start, end), in code points, as marks: a list of texts and elements. */
export function marked(text, ranges) {
  const signs = [...String(text ?? "")];
  const parts = [];
  let done = 0;
  for (const [start, end] of ranges ?? []) {
    parts.push(cleaned(signs.slice(done, start)), el("mark", {}, cleaned(signs.slice(start, end))));
    done = end;
  }
  return [...parts, cleaned(signs.slice(done))];
}

function cleaned(signs) {
  return signs.join("").replace(ODD, " ").replace(TURNS, "");
}

/** The address where it is http(s), else null: never javascript: or data:. */
export function webAddress(text) {
  try {
    const address = new URL(text);
    return ["http:", "https:"].includes(address.protocol) ? address.href : null;
  } catch {
    return null;
  }
}

/** The address of a picture that may be shown: on this service, or https. */
export function pictureAddress(text) {
  if (!text) return null;
  try {
    const address = new URL(text, location.origin);
    const ours = address.origin === location.origin && address.pathname.startsWith("/pictures/");
    return ours || address.protocol === "https:" || webAddress(text) ? address.href : null;
  } catch {
    return null;
  }
}

/** "$12.00", "12.00 XYZ" where the currency is none, "" without a price. */
export function priceText(price, currency) {
  if (price === null || price === undefined || !Number.isFinite(Number(price))) return "";
  const code = plain(currency).toUpperCase();
  try {
    const style = { style: "currency", currency: code };
    return new Intl.NumberFormat(undefined, style).format(price);
  } catch {
    const number = new Intl.NumberFormat(undefined, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
    return `${number.format(price)} ${code}`.trim();
  }
}

/** A whole number with the reader's separators. */
export function count(number) {
  return new Intl.NumberFormat().format(number);
}

/** "1 result", "2 results". */
export function counted(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

/** Milliseconds as one reads them. */
export function msText(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms >= 1000) return `${(ms / 1000).toFixed(2)} s`;
  return `${ms.toFixed(ms < 10 ? 1 : 0)} ms`;
}

/** A hue from 0 to 359 that belongs to a text. */
export function hueOf(text) {
  let hash = 7;
  for (const sign of String(text)) hash = (hash * 31 + sign.codePointAt(0)) >>> 0;
  return hash % 360;
}

/** Whether a key press belongs to a field that the reader types into. */
export function typing(event) {
  const at = event.target;
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return true;
  return at instanceof Element && Boolean(at.closest("input:not([type=checkbox], [type=radio]), select, textarea"));
}

/** What this browser remembers under a name; a store that is off remembers nothing. */
export const kept = {
  get(name) {
    try {
      return localStorage.getItem(`omnisearch.${name}`);
    } catch {
      return null;
    }
  },
  set(name, value) {
    try {
      localStorage.setItem(`omnisearch.${name}`, value);
    } catch {
      // Private windows and full stores: the page works on, it only forgets.
    }
  },
};
