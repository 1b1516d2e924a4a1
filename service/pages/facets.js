// The sidebar: how many results have each value, each a link that filters by it, and the order.

import { count, el, plain } from "./dom.js";
import { addressOf, attributeOf } from "./filters.js";

const SHOWN = 8; // values of a facet before "all"
const ORDERS = { price: "Price, lowest first", "-price": "Price, highest first", newest: "Newest first" };

/** 'heel_height' as 'Heel height'. */
export function named(name) {
  const words = plain(name).replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** A value as filters have it: | would part two. */
function quoted(value) {
  return value.replace(/[\\|]/g, "\\$&");
}

/** A range such as 10..20 as one reads it; any other value as it is. */
export function valueText(kind, value) {
  const ends = kind === "number" ? value.split("..") : [value];
  if (ends.length < 2) return plain(value);
  const [low, high] = ends.map((end) => (end ? count(Number(end)) : ""));
  if (!low) return `Below ${high}`;
  return high ? `${low} to ${high}` : `${low} and more`;
}

/** Show the facets of an answer; nothing if there are none. */
export function showFacets(aside, facets, asked) {
  const useful = facets.filter((facet) => facet.values.length > 1 || facet.parent || facet.values.some((each) => each.chosen));
  aside.hidden = !useful.length;
  aside.querySelector(".facet-list").replaceChildren(...useful.map((facet) => facetOf(facet, asked)));
}

function facetOf(facet, asked) {
  const others = (asked.filter ?? []).filter((text) => attributeOf(text) !== facet.name);
  const chosen = facet.values.filter((each) => each.chosen).map((each) => each.value);
  const toward = (values) => {
    const own = values.length ? [`${facet.name}=${values.map(quoted).join("|")}`] : [];
    return addressOf({ ...asked, filter: [...others, ...own] });
  };
  const links = facet.values.map((each) => {
    const tree = facet.kind === "path";
    const rest = chosen.filter((value) => value !== each.value);
    const values = tree ? [each.value] : each.chosen ? rest : [...chosen, each.value];
    const value = facet.name === "availability" ? each.value.replaceAll("_", " ") : each.value;
    const text = tree ? value.split(" > ").at(-1) : valueText(facet.kind, value);
    return el(
      "li",
      {},
      el(
        "a",
        { href: toward(values), "data-search": true, "aria-current": each.chosen && "true" },
        el("bdi", {}, plain(text)),
        el("span", { class: "soft" }, el("span", { class: "unseen" }, ", "), count(each.count)),
      ),
    );
  });
  return el("section", { class: "facet" }, el("h3", {}, named(facet.name)), facet.parent && above(facet, toward), listOf(links));
}

/** The way up from a node of a category path. */
function above(facet, toward) {
  const parts = facet.parent.split(" > ");
  const nodes = ["All", ...parts].map((part, depth) => {
    const words = el("bdi", {}, plain(part));
    if (depth === parts.length) return el("li", { "aria-current": "true" }, words);
    const values = depth ? [parts.slice(0, depth).join(" > ")] : [];
    return el("li", {}, el("a", { href: toward(values), "data-search": true }, words));
  });
  return el("ol", { class: "above" }, nodes);
}

function listOf(links) {
  if (links.length <= SHOWN + 1) return el("ul", {}, links);
  const rest = el("details", {}, el("summary", {}, `${links.length - SHOWN} more`), el("ul", {}, links.slice(SHOWN)));
  return [el("ul", {}, links.slice(0, SHOWN)), rest];
}

/** Fill the choice of orders with those that there are numbers for. */
export function showOrders(select, facets, asked) {
  const numbers = facets.filter((facet) => facet.kind === "number" && facet.name !== "price").map((facet) => facet.name);
  const further = numbers.flatMap((name) => [[name, `${named(name)}, lowest first`], [`-${name}`, `${named(name)}, highest first`]]);
  const known = new Map([["", "Best match"], ...Object.entries(ORDERS), ...further]);
  if (asked.sort && !known.has(asked.sort)) known.set(asked.sort, plain(asked.sort));
  select.replaceChildren(...[...known].map(([value, text]) => el("option", { value }, text)));
  select.value = asked.sort ?? "";
}
