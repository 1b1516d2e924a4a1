// The calls to OmniSearch. The settings are attributes of the body (index.html).

const { api, key } = document.body.dataset;
const headers = key ? { Authorization: `Bearer ${key}` } : {};
// Of this tab: no cookie. A shop that knows its users sends their ids instead.
export const session = (sessionStorage.session ??= crypto.getRandomValues(new Uint32Array(4)).join("-"));

/** The JSON that an address answers with; throws an Error with the service's words. */
export async function get(path, parameters, signal) {
  const response = await fetch(`${api}${path}?${new URLSearchParams(parameters)}`, { headers, signal });
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  const { what, how } = answer.error ?? { what: `The search answers with ${response.status}.`, how: "" };
  throw new Error(`${what} ${how}`.trim());
}

/** Tell OmniSearch that a result was opened: rankings learn from it. The page may be left meanwhile. */
export function opened(query, hit, request_id) {
  const event_id = crypto.getRandomValues(new Uint32Array(4)).join("-");
  const event = { event_id, session, request_id, query, entity: hit.entity, id: hit.id, action: "click", position: hit.rank };
  fetch(`${api}/v1/feedback`, {
    method: "POST",
    headers: { ...headers, "Content-Type": "application/json" },
    body: JSON.stringify({ events: [event] }),
    keepalive: true,
  }).catch(() => {});
}

/** Show a picture. One of OmniSearch's own may need the key, which an <img> cannot send. */
export async function show(picture, image) {
  if (!image.startsWith("/")) {
    picture.src = image;
    return;
  }
  const response = await fetch(`${api}${image}`, { headers }).catch(() => null);
  if (!response?.ok) return picture.remove();
  picture.src = URL.createObjectURL(await response.blob());
  picture.addEventListener("load", () => URL.revokeObjectURL(picture.src), { once: true });
}

/** A text in parts, those of `highlights` in <mark>: [start, end) in code points, as OmniSearch counts. */
export function marked(text, highlights = []) {
  const letters = [...text];
  const parts = [];
  let at = 0;
  for (const [start, end] of highlights) {
    const mark = document.createElement("mark");
    mark.textContent = letters.slice(start, end).join("");
    parts.push(letters.slice(at, start).join(""), mark);
    at = end;
  }
  return [...parts, letters.slice(at).join("")];
}
