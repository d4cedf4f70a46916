// Submitting: in chunks, a bounded number at once, again where the gateway asks for patience.

import { Problem, post } from "./api.js";
import { pause } from "./waiting.js";

const AT_ONCE = 2;
const IMAGES_A_CHUNK = 10;
const IMAGE_BYTES_A_CHUNK = 8 * 1024 * 1024;
const LINES_A_CHUNK = 500;
const LINE_BYTES_A_CHUNK = 512 * 1024;
const FIRST_PAUSE_S = 1;
const LONGEST_PAUSE_S = 20;

/**
 * Submit the items of a batch.
 * @param {{model: string, run: string|null, items: object[]}} batch items have text or file
 * @param {object} listener onAccepted(item, id), onRefused(item, problem),
 *   onWaiting(problem, seconds) before a pause, onGoing() after it
 */
export async function send(batch, listener, signal) {
  const chunks = chunksOf(batch.items);
  const numbered = chunks.entries();
  const lane = async () => {
    for (const [, items] of numbered) await sendChunk(batch, items, listener, signal);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
}

function chunksOf(items) {
  const [most, bytes] = items[0].file
    ? [IMAGES_A_CHUNK, IMAGE_BYTES_A_CHUNK] : [LINES_A_CHUNK, LINE_BYTES_A_CHUNK];
  const chunks = [];
  let room = 0;
  for (const item of items) {
    // A character of a text has up to four bytes in JSON's UTF-8, or more where it is escaped.
    const needed = item.file?.size ?? item.text.length * 4;
    if (!chunks.length || chunks.at(-1).length === most || needed > room) {
      chunks.push([]);
      room = bytes;
    }
    chunks.at(-1).push(item);
    room -= needed;
  }
  return chunks;
}

async function sendChunk(batch, items, listener, signal) {
  // The key lets a chunk whose answer was lost be sent again without being done twice.
  const key = newKey();
  for (let wait = FIRST_PAUSE_S; ; wait = Math.min(wait * 2, LONGEST_PAUSE_S)) {
    try {
      tell(items, await post("v1/jobs", contentOf(batch, items), { key, signal }), listener);
      return;
    } catch (error) {
      if (signal.aborted) throw error;
      if (!(error instanceof Problem)) throw error;
      if (error.passing) {
        await patience(error, error.retryAfter ?? wait, listener, signal);
      } else if (items.length > 1 && [400, 413, 415, 422].includes(error.status)) {
        // One of them is at fault: one by one, the others go through.
        for (const item of items) await sendChunk(batch, [item], listener, signal);
        return;
      } else {
        for (const item of items) listener.onRefused(item, error);
        return;
      }
    }
  }
}

async function patience(problem, seconds, listener, signal) {
  listener.onWaiting(problem, seconds);
  await pause(seconds * 1000, signal);
  listener.onGoing();
}

function contentOf({ model, run }, items) {
  if (items[0].file) {
    const form = new FormData();
    form.append("model", model);
    if (run) form.append("run", run);
    for (const { file } of items) form.append("file", file, file.name);
    return form;
  }
  const group = run ? { model, run } : { model };
  return run ? { ...group, jobs: items.map(({ text }) => ({ text })) }
    : { ...group, text: items[0].text };
}

function tell(items, answer, listener) {
  const jobs = answer.jobs ?? [answer];
  for (const [index, item] of items.entries()) {
    const { id, error } = jobs[index];
    if (error) listener.onRefused(item, new Problem(422, error.message, { code: error.code }));
    else listener.onAccepted(item, id);
  }
}

/** A name that nobody else has; crypto.randomUUID is missing where the page is not secure. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
