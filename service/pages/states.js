// What a page shows while it waits, and where there is nothing to show.

import { useKey } from "./api.js";
import { el, plain, said } from "./dom.js";
import { LEFT_OUT } from "./names.js";

const HEADINGS = {
  offline: "No connection",
  timeout: "That took too long",
  key: "An API key is needed",
  busy: "The service is busy",
  input: "That cannot be searched",
  fault: "Something went wrong here",
};

/** A card about a failure, with a button that tries again. */
export function failurePanel(failure, again) {
  const panel = el(
    "section",
    { class: `panel message ${failure.kind === "busy" ? "" : "bad"}` },
    el("h2", {}, HEADINGS[failure.kind] ?? HEADINGS.fault),
    el("p", {}, said(failure.what), " ", said(failure.how)),
    failure.where && el("p", {}, "Where: ", el("code", {}, plain(failure.where))),
  );
  if (failure.kind === "key") panel.append(keyForm(again));
  else if (failure.kind !== "input") panel.append(retryButton(failure, again));
  return panel;
}

function keyForm(again) {
  const field = el("input", { id: "api-key", type: "password", autocomplete: "off", required: true });
  const send = async (event) => {
    event.preventDefault();
    await useKey(field.value).catch(() => {}); // a wrong key: asking again says so
    again();
  };
  return el(
    "form",
    { class: "chips", onsubmit: send },
    el("label", { for: "api-key" }, "API key, kept until the browser closes"),
    field,
    el("button", { class: "main" }, "Use this key"),
  );
}

function retryButton(failure, again) {
  const button = el("button", { class: "main", type: "button", onclick: again }, "Try again");
  if (failure.kind === "busy" && failure.retryAfter) {
    let left = Math.min(failure.retryAfter, 60);
    button.disabled = true;
    const tick = () => {
      button.textContent = left > 0 ? `Try again in ${left} s` : "Try again";
      button.disabled = left > 0;
      if (left-- > 0) setTimeout(tick, 1000);
    };
    tick();
  }
  return el("p", {}, button);
}

/** One sentence on what an answer went without, or null where it is whole. */
export function degradedText(names) {
  if (!names?.length) return null;
  const list = new Intl.ListFormat("en").format([...new Set(names.map(leftOut))]);
  return `Answered in time, but without ${list}: results may be fewer or in another order.`;
}

function leftOut(name) {
  return LEFT_OUT[name] ?? plain(name).replaceAll("_", " ");
}

/** Fill a list of notes, each said once. */
export function showNotes(list, lines) {
  const said_ = [...new Set(lines.filter(Boolean).map(plain))];
  list.replaceChildren(...said_.map((line) => el("li", { dir: "auto" }, line)));
}

/** Say something to screen readers, and to nobody else. */
export function announce(text) {
  const region = document.getElementById("live");
  // The same text twice is not read twice unless it changes in between.
  region.textContent = region.textContent === text ? `${text}\u00a0` : text;
}

/** Show the banner while the browser is offline; `back` runs when it is online again. */
export function watchConnection(back) {
  const banner = document.getElementById("offline");
  const show = () => {
    banner.hidden = navigator.onLine;
  };
  addEventListener("offline", show);
  addEventListener("online", () => {
    show();
    back();
  });
  show();
}
