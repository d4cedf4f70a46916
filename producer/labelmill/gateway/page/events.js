// Live results: server-sent events read from a fetch, since EventSource cannot send a token.

import { answered, withQuery } from "./api.js";
import { pause } from "./waiting.js";

const SILENCE_MS = 45_000; // the gateway sends a comment every 15 s
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 15_000;

/**
 * Follow results as they are committed, until the signal is aborted.
 *
 * A stream that breaks is opened again from the last event seen.
 * @param {{run?: string, model?: string}} filter
 * @param {function(object)} onResult called with each job
 * @param {function(boolean)} onLive called with whether the stream is open
 */
export async function follow(filter, onResult, onLive, signal) {
  let lastId = null;
  let wait = FIRST_PAUSE_MS;
  while (!signal.aborted) {
    try {
      for await (const event of stream(filter, lastId, () => onLive(true), signal)) {
        wait = FIRST_PAUSE_MS;
        lastId = event.id ?? lastId;
        if (event.type === "result") onResult(JSON.parse(event.data));
      }
    } catch {
      if (signal.aborted) return; // otherwise polling goes on, and the stream is tried again
    }
    onLive(false);
    await pause(wait, signal).catch(() => {});
    wait = Math.min(wait * 2, LONGEST_PAUSE_MS);
  }
}

async function* stream(filter, lastId, onOpen, signal) {
  const headers = { Accept: "text/event-stream" };
  if (lastId) headers["Last-Event-ID"] = lastId;
  const silence = new AbortController();
  let timer = setTimeout(() => silence.abort(), SILENCE_MS);
  try {
    const response = await answered(withQuery("v1/events", filter), {
      headers, signal: AbortSignal.any([signal, silence.signal]),
    }, null);
    onOpen();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    const parser = new EventParser();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE_MS);
      yield* parser.parse(value);
    }
  } finally {
    clearTimeout(timer);
    silence.abort();
  }
}

/** The events of a text/event-stream, however it is cut into pieces. */
export class EventParser {
  #rest = "";
  #type = "message";
  #data = [];
  #id = null;

  * parse(piece) {
    // A lone CR at the end may be half of a CRLF: it waits for the next piece.
    const lines = (this.#rest + piece).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop();
    for (const line of lines) {
      if (line === "") yield* this.#dispatch();
      else this.#read(line);
    }
  }

  #read(line) {
    const [, name, value] = /^([^:]*)(?:: ?(.*))?$/s.exec(line);
    if (name === "data") this.#data.push(value ?? "");
    else if (name === "event") this.#type = value;
    else if (name === "id") this.#id = value;
  }

  * #dispatch() {
    if (this.#data.length) yield { type: this.#type, data: this.#data.join("\n"), id: this.#id };
    this.#type = "message";
    this.#data = [];
  }
}
