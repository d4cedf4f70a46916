// The gateway's API: requests that fail with a Problem whose message can be shown as it is.

import { askToken, token } from "./token.js";

const TIMEOUT_MS = 40_000; // the longest wait that is asked for is 25 s
const UPLOAD_TIMEOUT_MS = 300_000;

/** Why a request came to nothing. `status` is 0 where the gateway did not answer at all. */
export class Problem extends Error {
  constructor(status, message, { code = null, retryAfter = null } = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter; // seconds
  }

  /** Whether the same request can succeed later. */
  get passing() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

/** The path of a job in the API. */
export const jobPath = (id) => `v1/jobs/${encodeURIComponent(id)}`;

/** The path of a run in the API. */
export const runPath = (id) => `v1/runs/${encodeURIComponent(id)}`;

/** A path with those parameters that have a value. */
export function withQuery(path, parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null
    && value !== undefined && value !== "");
  const query = new URLSearchParams(given).toString();
  return query ? `${path}?${query}` : path;
}

/** GET as JSON. */
export async function get(path, signal) {
  return (await answered(path, { signal })).json();
}

/** GET as a blob. */
export async function getBlob(path, signal) {
  return (await answered(path, { signal })).blob();
}

/**
 * POST, as JSON or, for FormData, as multipart.
 * @param {string} key an idempotency key: the same request sent again is one submission
 */
export async function post(path, content, { key = null, signal } = {}) {
  const form = content instanceof FormData;
  const headers = form ? {} : { "Content-Type": "application/json" };
  if (key) headers["Idempotency-Key"] = key;
  const body = form ? content : JSON.stringify(content);
  const timeout = form ? UPLOAD_TIMEOUT_MS : TIMEOUT_MS;
  return (await answered(path, { method: "POST", headers, body, signal }, timeout)).json();
}

/**
 * A response with a status of 2xx.
 * @throws {Problem}
 */
export async function answered(path, options, timeout = TIMEOUT_MS) {
  for (;;) {
    const used = token();
    const response = await reached(path, options, timeout, used);
    if (response.ok) return response;
    const problem = await problemOf(response);
    if (response.status !== 401 || !(await askToken(used))) throw problem;
  }
}

async function reached(path, { headers = {}, signal, ...options }, timeout, used) {
  const limits = [timeout ? AbortSignal.timeout(timeout) : null, signal].filter(Boolean);
  try {
    return await fetch(path, {
      ...options,
      headers: used ? { ...headers, Authorization: `Bearer ${used}` } : headers,
      signal: limits.length ? AbortSignal.any(limits) : undefined,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem(0, error.name === "TimeoutError"
      ? "The gateway did not answer in time."
      : "The gateway cannot be reached: it is not running, or the network is down.");
  }
}

async function problemOf(response) {
  const told = await response.json().catch(() => ({}));
  const said = typeof told.detail === "string" ? told.detail : null;
  const retryAfter = Number.parseFloat(response.headers.get("Retry-After"));
  return new Problem(
    response.status,
    said ?? told.title ?? `The gateway answered ${response.status} ${response.statusText}.`,
    { code: told.code ?? null, retryAfter: Number.isFinite(retryAfter) ? retryAfter : null },
  );
}
