// A shop's search page over OmniSearch's public API: search, facets, sort, more, feedback.

import { get, marked, opened, session, show } from "./api.js";
import { close, filterOf, suggest } from "./suggest.js";

const SORTS = { price: "Price, low to high", "-price": "Price, high to low", newest: "Newest" };
const NAMES = { product_types: "Category", brand: "Brand", price: "Price", colours: "Colour" };
const FEW = 6; // values of a facet that are shown at once
const { facets, sorts } = document.body.dataset;
const $ = (id) => document.getElementById(id);
let page = 1;
let asking = new AbortController();

/** What the address says: the query, the filters as OmniSearch writes them, and the sort. */
function asked() {
  const parameters = new URLSearchParams(location.search);
  return { q: parameters.get("q") ?? "", filters: parameters.getAll("filter"), sort: parameters.get("sort") ?? "" };
}

/** Go to an address of this page, and show what it asks for. */
function go({ q, filters, sort }) {
  const parameters = new URLSearchParams({ q });
  for (const filter of filters) parameters.append("filter", filter);
  if (sort) parameters.set("sort", sort);
  history.pushState(null, "", `?${parameters}`);
  search();
}

/** One condition for each attribute, with all its values: colours=red and colours=blue are colours=red|blue. */
function conditions(filters) {
  const values = new Map();
  for (const filter of filters) {
    const [, name, value] = filter.match(/^([^=]*)=(.*)$/s) ?? [null, filter, null];
    values.set(name, [...(values.get(name) ?? []), value]);
  }
  return [...values].map(([name, each]) => (each[0] === null ? name : `${name}=${each.join("|")}`));
}

async function search(next = 1) {
  const { q, filters, sort } = asked();
  asking.abort();
  asking = new AbortController();
  page = next;
  $("q").value = q;
  $("sort").value = sort;
  document.title = q ? `${q} – Shop` : "Shop";
  if (!q.trim()) return ($("found").hidden = true);
  const parameters = new URLSearchParams({ q, k: 24, page, facets, user: session });
  for (const filter of conditions(filters)) parameters.append("filter", filter);
  if (sort) parameters.set("sort", sort);
  try {
    render(await get("/v1/search", parameters, asking.signal), q, filters);
  } catch (error) {
    if (error.name === "AbortError") return;
    $("state").textContent = error instanceof TypeError ? "The search cannot be reached. Try again." : error.message;
  }
}

function render(answer, q, filters) {
  const first = page === 1;
  const cards = answer.hits.map((hit) => card(hit, q, answer.request_id));
  if (first) $("results").replaceChildren(...cards);
  else $("results").append(...cards);
  const count = $("results").children.length;
  $("found").hidden = !count && !filters.length;
  $("more").hidden = !answer.hits.length || count >= answer.total;
  $("title").textContent = q;
  const spelled = answer.searched && answer.searched !== q ? ` Searched for “${answer.searched}”.` : "";
  const matching = answer.matching === 1 ? "1 item has" : `${answer.matching || "No"} items have`;
  $("state").textContent = count ? `${matching} all words; ${count} of ${answer.total} results are shown.${spelled}` : "Nothing fits. Try other words or fewer filters.";
  if (first) renderFacets(answer.facets ?? []);
  else cards[0]?.querySelector("a")?.focus();
}

function card(hit, q, request_id) {
  const item = document.createElement("li");
  if (hit.image) {
    const picture = document.createElement("img");
    Object.assign(picture, { alt: "", loading: "lazy" });
    item.append(picture);
    show(picture, hit.image);
  }
  const heading = document.createElement("h2");
  const link = document.createElement("a");
  link.append(...(hit.title ? marked(hit.title, hit.highlights) : ["Untitled"]));
  link.href = /^https?:/.test(hit.link ?? "") ? hit.link : `?${new URLSearchParams({ q: hit.title ?? "" })}`;
  link.addEventListener("click", () => opened(q, hit, request_id));
  heading.append(link);
  item.append(heading);
  if (hit.brand) item.append(line(hit.brand, "brand"));
  if (hit.price !== null) item.append(line(price(hit)));
  return item;
}

function price({ price: amount, currency }) {
  const form = currency ? { style: "currency", currency } : { minimumFractionDigits: 2, maximumFractionDigits: 2 };
  try {
    return new Intl.NumberFormat(undefined, form).format(amount);
  } catch {
    return `${amount} ${currency}`; // no code of a currency
  }
}

function line(text, kind = "") {
  const found = document.createElement("p");
  found.className = kind;
  found.textContent = text;
  return found;
}

/** The facets as groups of checkboxes. What has the focus keeps it. */
function renderFacets(all) {
  const focused = document.activeElement?.value;
  $("facets").replaceChildren(...all.filter((facet) => facet.values.length).map(group));
  for (const box of $("facets").querySelectorAll("input")) if (box.value === focused) box.focus();
}

function group(facet) {
  const found = document.createElement("fieldset");
  const legend = document.createElement("legend");
  legend.textContent = NAMES[facet.name] ?? facet.name.replaceAll("_", " ");
  found.append(legend);
  const { filters } = asked();
  const boxes = facet.values.map(({ value, count, filter }) => [filter, `${value} (${count})`]);
  // A category that is chosen shows what lies below it: its own box is how to leave it.
  const shown = new Set(boxes.map(([filter]) => filter));
  const left = filters.filter((filter) => filter.startsWith(`${facet.name}=`) && !shown.has(filter));
  const labels = [...left.map((filter) => [filter, filter.slice(facet.name.length + 1).replace(/\\([\\|])/g, "$1")]), ...boxes].map(([filter, text]) => {
    const label = document.createElement("label");
    const box = document.createElement("input");
    Object.assign(box, { type: "checkbox", value: filter, checked: filters.includes(filter) });
    box.dataset.kind = facet.kind;
    label.append(box, text);
    return label;
  });
  found.append(...labels.slice(0, FEW));
  if (labels.length <= FEW) return found;
  const rest = document.createElement("details");
  const summary = document.createElement("summary");
  summary.textContent = "More";
  rest.append(summary, ...labels.slice(FEW));
  rest.open = rest.querySelector(":checked") !== null;
  found.append(rest);
  return found;
}

$("facets").addEventListener("change", ({ target: { value, checked, dataset } }) => {
  const { q, filters, sort } = asked();
  const name = value.slice(0, value.indexOf("=") + 1);
  // A category below another takes its place.
  const others = filters.filter((each) => (dataset.kind === "path" ? !each.startsWith(name) : each !== value));
  go({ q, sort, filters: checked ? [...others, value] : others });
});
$("sort").addEventListener("change", () => go({ ...asked(), sort: $("sort").value }));
$("more").addEventListener("click", () => search(page + 1));
const submit = () => {
  const filter = filterOf();
  close();
  go({ ...asked(), q: $("q").value, filters: filter ? [filter] : [] });
  $("title").focus();
};
$("search").addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
addEventListener("popstate", () => search());
for (const sort of sorts.split(",").filter(Boolean)) $("sort").add(new Option(SORTS[sort] ?? sort, sort));
suggest(submit);
search();
