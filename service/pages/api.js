// Calls to the service, and every way in which they fail, in words.

const SLOWEST = 15000; // milliseconds until the page gives up

/** A call that failed. kind: offline, timeout, key, busy, input or fault. */
export class Failure extends Error {
  constructor(kind, what, where = "", how = "", retryAfter = 0) {
    super(what);
    Object.assign(this, { kind, what, where, how, retryAfter });
  }
}

/** Show an API key with all that follows, pictures too: the service keeps it in a cookie. */
export async function useKey(key) {
  await call("/v1/session", { method: "POST", headers: { Authorization: `Bearer ${key.trim()}` } });
}

/** The JSON that a path answers with. An aborted call throws the signal's AbortError. */
export async function get(path, parameters = {}, signal = undefined) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (Array.isArray(value)) for (const each of value) query.append(name, each);
    else if (value !== null && value !== undefined && value !== "") query.set(name, value);
  }
  const asked = query.toString();
  return call(asked ? `${path}?${asked}` : path, { signal });
}

/** Send JSON, get JSON. keepalive lets it outlive the page. */
export async function post(path, body, { keepalive = false } = {}) {
  return call(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    keepalive,
  });
}

async function call(address, { signal, ...options }) {
  const stop = new AbortController();
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    stop.abort();
  }, SLOWEST);
  signal?.addEventListener("abort", () => stop.abort(), { once: true });
  if (signal?.aborted) stop.abort();
  try {
    const response = await fetch(address, { ...options, signal: stop.signal });
    if (response.status === 204) return null;
    const answer = await response.json().catch(() => null);
    if (response.ok && answer !== null) return answer;
    throw failureOf(response, answer);
  } catch (error) {
    if (error instanceof Failure) throw error;
    if (late) {
      throw new Failure("timeout", `No answer within ${SLOWEST / 1000} seconds.`, "", "Try again in a moment.");
    }
    if (error.name === "AbortError") throw error;
    throw new Failure("offline", "The service cannot be reached.", "", "Check the connection, then try again.");
  } finally {
    clearTimeout(timer);
  }
}

function failureOf(response, answer) {
  const error = answer?.error ?? {};
  const what = error.what || `The service answered with status ${response.status}.`;
  const wait = Number(response.headers.get("Retry-After")) || 1;
  if (response.status === 401) return new Failure("key", what, error.where, error.how);
  if (response.status === 429 || response.status === 503) {
    return new Failure("busy", what, error.where, error.how, wait);
  }
  return new Failure(response.status < 500 ? "input" : "fault", what, error.where, error.how);
}
