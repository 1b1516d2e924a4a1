// The form's fields and the page's address, which say the same.

import { el, plain } from "./dom.js";

/** Parameters that the address may carry, all named as in the API. */
export const NAMES = [
  "q", "entity", "language", "country", "price_min", "price_max", "brand", "board", "ads", "system", "explain",
  "sort", "out_of_stock",
];
const FIELDS = ["language", "price_min", "price_max", "brand", "ads"];
const WORDS = {
  language: (value) => `Language: ${languageName(value)}`,
  country: (value) => `Country: ${value}`,
  price_min: (value) => `From ${value}`,
  price_max: (value) => `Up to ${value}`,
  brand: (value) => `Brand: ${value}`,
  board: (value) => `Board: ${value}`,
  ads: (value) => (value === "true" ? "Only ads" : "Without ads"),
  system: (value) => `System: ${value}`,
  explain: () => "With rules",
  out_of_stock: (value) => `Out of stock: ${value}`,
};
const KEPT = ["country", "board", "system", "explain", "out_of_stock"]; // without a field in the form
const LANGUAGES = (
  "ar bn cs da de el en es fa fi fr he hi hu id it ja ko ms nl no pl pt ro ru sv sw ta th tr uk ur vi zh"
).split(" ");

function languageName(code) {
  try {
    return new Intl.DisplayNames("en", { type: "language" }).of(code) ?? code;
  } catch {
    return code;
  }
}

/** What the address asks for: name → value, without what is empty; `filter` is a list. */
export function fromAddress() {
  const given = new URLSearchParams(location.search);
  const found = {};
  for (const name of NAMES) {
    const older = name.replace(/^price_(min|max)$/, "$1_price"); // addresses that were kept
    const value = (given.get(name) ?? given.get(older))?.trim();
    if (value) found[name] = value;
  }
  const filters = given.getAll("filter").filter((text) => text.trim());
  if (filters.length) found.filter = filters;
  return found;
}

/** An address of this page. */
export function addressOf(asked, more = {}) {
  const pairs = Object.entries({ ...asked, ...more }).flatMap(([name, value]) => [value].flat().map((each) => [name, each]));
  const query = new URLSearchParams(pairs.filter(([, value]) => value));
  return query.size ? `/?${query}` : "/";
}

/** The attribute that a filter is on, as its text names it. */
export function attributeOf(filter) {
  return filter.split(/[=<>]/)[0].trim();
}

/** What is asked for, filtered by `filter` in place of what else filters by its attribute. */
export function filteredBy(asked, filter) {
  const name = attributeOf(filter);
  const others = (asked.filter ?? []).filter((text) => attributeOf(text) !== name);
  return { ...asked, [name]: "", filter: [...others, filter] };
}

/** What the form asks for; what it has no field for is taken over from the address. */
export function fromForm(form) {
  const asked = {};
  const now = fromAddress();
  for (const name of KEPT) if (now[name]) asked[name] = now[name];
  for (const [name, value] of new FormData(form)) {
    if (NAMES.includes(name) && value.trim()) asked[name] = value.trim();
  }
  const found = Object.fromEntries(NAMES.filter((name) => asked[name]).map((name) => [name, asked[name]]));
  return now.filter ? { ...found, filter: now.filter } : found;
}

/** Put into the form what is asked for. */
export function fillForm(form, asked) {
  form.elements.q.value = asked.q ?? "";
  const kinds = [...form.elements.entity];
  for (const radio of kinds) radio.checked = radio.value === (asked.entity ?? "");
  if (!kinds.some((radio) => radio.checked)) kinds[0].checked = true;
  const languages = form.elements.language;
  const wanted = asked.language ?? "";
  if (languages.options.length === 1) {
    for (const code of LANGUAGES) languages.append(el("option", { value: code }, languageName(code)));
  }
  if (wanted && ![...languages.options].some((option) => option.value === wanted)) {
    languages.append(el("option", { value: wanted }, plain(wanted)));
  }
  for (const name of FIELDS) form.elements[name].value = asked[name] ?? "";
  const set = FIELDS.filter((name) => asked[name]).length;
  document.getElementById("set-count").textContent = set ? ` · ${set} set` : "";
}

/** Chips of the filters that are set; each is a link to the search without it. */
export function showActive(list, asked) {
  const chips = Object.keys(WORDS)
    .filter((name) => asked[name])
    .map((name) => chip(WORDS[name](asked[name]), addressOf({ ...asked, [name]: "" })));
  const filters = asked.filter ?? [];
  for (const text of filters) {
    const rest = filters.filter((other) => other !== text);
    chips.push(chip(filterText(text), addressOf({ ...asked, filter: rest })));
  }
  list.hidden = !chips.length;
  list.replaceChildren(...chips);
}

/** brand=A|B as brand: A or B; a | or backslash of a value has a backslash before it. */
function filterText(text) {
  const parted = text.replace(/\\([\\|])|\|/g, (_, own) => own ?? " or ");
  return parted.replaceAll("_", " ").replace(/\s*=\s*/, ": ");
}

function chip(text, address) {
  const parts = [el("span", { class: "unseen" }, "Remove the filter "), el("bdi", {}, plain(text)), el("span", { "aria-hidden": "true" }, "×")];
  return el("li", {}, el("a", { href: address, "data-search": true }, parts));
}
