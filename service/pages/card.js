// One result: its picture or a tile with its title, and what there is to know about it.

import { el, hueOf, marked, pictureAddress, plain, priceText, said, webAddress } from "./dom.js";

/** The title, or a name for an item without one. */
export function titleOf(hit) {
  return plain(hit.title) || `${hit.entity === "product" ? "Product" : "Pin"} ${plain(hit.id)}`;
}

/** The picture over a tile with the title: the tile stays where there is no picture or it fails. */
export function frame(hit, { eager = false } = {}) {
  const box = el("div", { class: "frame" }, el("span", { class: "tile", dir: "auto", "aria-hidden": "true" }, titleOf(hit)));
  box.style.setProperty("--hue", hueOf(`${hit.entity} ${hit.id}`));
  const address = pictureAddress(hit.image);
  if (address) {
    const picture = el("img", { alt: "", loading: eager ? "eager" : "lazy", decoding: "async", referrerpolicy: "no-referrer" });
    picture.addEventListener("error", () => picture.remove());
    picture.addEventListener("load", () => {
      box.querySelector(".tile")?.remove();
      const ratio = picture.naturalWidth / picture.naturalHeight || 0.8;
      box.style.aspectRatio = String(Math.min(1.6, Math.max(0.56, ratio)));
    });
    picture.src = address;
    box.append(picture);
  }
  return box;
}

/** The title as a heading, linked to the item's own page where it has one. */
export function heading(hit, level = "h3") {
  const link = webAddress(hit.link);
  // No bdi: it would not count for the direction of what is around it.
  const name = hit.highlights?.length ? marked(hit.title, hit.highlights) : titleOf(hit);
  if (!link) return el(level, { class: "name", dir: "auto" }, name);
  const anchor = el("a", { href: link, target: "_blank", rel: "noopener noreferrer nofollow" }, name);
  return el(level, { class: "name", dir: "auto" }, anchor);
}

/** Price, kind and brand. */
export function facts(hit) {
  const price = priceText(hit.price, hit.currency);
  return el(
    "p",
    { class: "facts" },
    price && el("span", { class: "price" }, price),
    el("span", {}, hit.entity === "product" ? "Product" : "Pin"),
    hit.brand && said(hit.brand),
  );
}

/** The rules that pinned or moved a result, if they were asked for. */
function rules(hit) {
  const names = hit.explain?.rules ?? [];
  return names.length > 0 && el("p", { class: "facts" }, said(names.join(", ")));
}

/** A card of the feed. */
export function feedCard(hit, likeAddress, place) {
  const picture = frame(hit, { eager: place < 8 });
  if (hit.is_ad) picture.prepend(el("span", { class: "badge ad" }, "Ad"));
  const like = el("a", { class: "like", href: likeAddress }, "More like this", el("span", { class: "unseen", dir: "auto" }, `: ${titleOf(hit)}`));
  return el("li", { class: "card" }, el("article", { class: "card-in" }, picture, heading(hit, "h2"), facts(hit), rules(hit), like));
}

/** A card's place while its result is on the way. */
export function blankCard() {
  return el("li", { class: "card blank", "aria-hidden": "true" }, el("div", { class: "card-in" }, el("div", { class: "frame" }), el("div", { class: "line" })));
}
