// What readers open is engagement: the next enrichment and training learn from it.

import { post } from "./api.js";

/** Tell the log that a result was opened; lost without a word where the service cannot be reached. */
export function opened(query, hit, request) {
  const event = {
    event_id: `${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}`,
    query,
    entity: hit.entity,
    id: hit.id,
    action: "click",
    position: hit.rank,
    request_id: request,
  };
  post("/v1/feedback", { events: [event] }, { keepalive: true }).catch(() => {});
}
