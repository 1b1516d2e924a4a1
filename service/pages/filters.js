// The form's fields and the page's address, which say the same.

import { el, plain } from "./dom.js";

/** Parameters that the address may carry, all named as in the API. */
export const NAMES = [
  "q", "entity", "language", "country", "price_min", "price_max", "brand", "board", "ads", "system", "explain",
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
};
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

/** What the address asks for: name → value, without what is empty. */
export function fromAddress() {
  const given = new URLSearchParams(location.search);
  const found = {};
  for (const name of NAMES) {
    const older = name.replace(/^price_(min|max)$/, "$1_price"); // addresses that were kept
    const value = (given.get(name) ?? given.get(older))?.trim();
    if (value) found[name] = value;
  }
  return found;
}

/** An address of this page. */
export function addressOf(asked, more = {}) {
  const query = new URLSearchParams(Object.entries({ ...asked, ...more }).filter(([, value]) => value));
  return query.size ? `/?${query}` : "/";
}

/** What the form asks for; what it has no field for is taken over from the address. */
export function fromForm(form) {
  const asked = {};
  const now = fromAddress();
  for (const name of ["country", "board", "system", "explain"]) if (now[name]) asked[name] = now[name];
  for (const [name, value] of new FormData(form)) {
    if (NAMES.includes(name) && value.trim()) asked[name] = value.trim();
  }
  return Object.fromEntries(NAMES.filter((name) => asked[name]).map((name) => [name, asked[name]]));
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
  const set = Object.keys(WORDS).filter((name) => asked[name]);
  list.hidden = !set.length;
  list.replaceChildren(
    ...set.map((name) => {
      const rest = Object.fromEntries(Object.entries(asked).filter(([other]) => other !== name));
      const words = el("bdi", {}, plain(WORDS[name](asked[name])));
      return el(
        "li",
        {},
        el("a", { href: addressOf(rest), "data-search": true }, el("span", { class: "unseen" }, "Remove the filter "), words, el("span", { "aria-hidden": "true" }, "×")),
      );
    }),
  );
}
