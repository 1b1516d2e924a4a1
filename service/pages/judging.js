// Judgments: what this judge said of which result, sent one by one, kept until the service has them.

import { Failure, post } from "./api.js";
import { kept } from "./dom.js";

const QUERIES_KEPT = 100;

/** What names a result within a query. */
export function keyOf(hit) {
  return `${hit.entity} ${hit.id}`;
}

/** The judgments of one judge for one query, remembered by this browser. */
export class Judgments {
  /**
   * @param {string} judge
   * @param {string} query
   * @param {(hit: object) => number} top the highest grade of an item's data set
   */
  constructor(judge, query, top) {
    Object.assign(this, { judge, query, top, history: [] });
    this.said = new Map(Object.entries(remembered()[`${judge}\n${query}`] ?? {}));
  }

  /** "relevant", "irrelevant", "skipped", or undefined. */
  of(hit) {
    return this.said.get(keyOf(hit));
  }

  /** Judge a result; a skip is only remembered, never sent. */
  judge_(hit, verdict) {
    this.history.push([hit, this.of(hit)]);
    this.put(hit, verdict);
  }

  /** Take back the last judgment; returns its result, null where there is none. */
  undo() {
    const last = this.history.pop();
    if (!last) return null;
    this.put(...last);
    return last[0];
  }

  put(hit, verdict) {
    const before = this.of(hit);
    if (verdict) this.said.set(keyOf(hit), verdict);
    else this.said.delete(keyOf(hit));
    remember(`${this.judge}\n${this.query}`, Object.fromEntries(this.said));
    if (graded(verdict) || graded(before)) {
      const grade = graded(verdict) ? (verdict === "relevant" ? this.top(hit) : 0) : null;
      outbox.add({ query: this.query, entity: hit.entity, id: hit.id, grade, judge: this.judge });
    }
  }
}

function graded(verdict) {
  return verdict === "relevant" || verdict === "irrelevant";
}

function remembered() {
  try {
    return JSON.parse(kept.get("judged") ?? "{}");
  } catch {
    return {};
  }
}

function remember(name, verdicts) {
  const all = remembered();
  delete all[name];
  const names = Object.keys(all);
  for (const old of names.slice(0, Math.max(0, names.length + 1 - QUERIES_KEPT))) delete all[old];
  if (Object.keys(verdicts).length) all[name] = verdicts;
  kept.set("judged", JSON.stringify(all));
}

/** What the service has not acknowledged yet, oldest first. It survives the page. */
export const outbox = {
  waiting: load(),
  sending: null,
  failure: null,
  changed: () => {},

  add(judgment) {
    this.waiting.push(judgment);
    this.flush();
  },

  /** Send what waits, in order; a failure leaves it waiting. */
  flush() {
    this.save();
    this.sending ??= this.send().finally(() => {
      this.sending = null;
    });
    return this.sending;
  },

  async send() {
    while (this.waiting.length) {
      const batch = this.waiting.slice(0, 100);
      try {
        await post("/v1/judgments", { judgments: batch }, { keepalive: true });
        this.waiting.splice(0, batch.length);
        this.failure = null;
      } catch (error) {
        this.failure = error instanceof Failure ? error : new Failure("fault", String(error));
        if (this.failure.kind === "input") this.waiting.splice(0, batch.length); // will never be taken
        this.save();
        return;
      }
      this.save();
    }
  },

  save() {
    kept.set("unsent", JSON.stringify(this.waiting));
    this.changed();
  },
};

function load() {
  try {
    const found = JSON.parse(kept.get("unsent") ?? "[]");
    return Array.isArray(found) ? found : [];
  } catch {
    return [];
  }
}
