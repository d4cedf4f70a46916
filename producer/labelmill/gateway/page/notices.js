// The lines under the header: what is wrong with the service, since when, and what it means.

import { el, fill, setText } from "./dom.js";
import { counted, moment } from "./format.js";
import { stack } from "./stack.js";

/** Keep the notices and the time of the last look up to date. */
export function showNotices() {
  const list = document.getElementById("notices");
  const freshness = document.getElementById("freshness");
  let shown = null;
  stack.addEventListener("change", () => {
    setText(freshness, stack.readAt ? `Updated ${moment(stack.readAt)}` : "Not yet read");
    freshness.classList.toggle("stale", stack.problem !== null);
    const notices = current();
    const text = JSON.stringify(notices);
    if (text === shown) return;
    shown = text;
    fill(list, notices.map(({ level, words }) => el("p", { class: `notice ${level}` }, words)));
  });
}

function current() {
  const away = troubles();
  if (away.length) return away;
  return stack.models.filter((model) => model.served === false && model.waiting > 0)
    .map((model) => ({ level: "warning", words: unserved(model) }));
}

function troubles() {
  const found = [];
  const say = (trouble, words) => {
    const since = stack.since(trouble);
    if (since) found.push({ level: "bad", words: words(moment(since)) });
  };
  if (stack.problem && stack.problem.status !== 0) {
    say("gateway", (time) => `The state of the service cannot be read since ${time}: `
      + stack.problem.message);
    return found;
  }
  say("gateway", (time) => `The gateway has not answered since ${time}. What you see is older; `
    + "the page tries again every few seconds.");
  if (found.length) return found;
  say("redis", (time) => `Redis is away since ${time} or before. Jobs cannot be submitted, and `
    + "queues cannot be read; what was accepted is kept. Finished results can still be read.");
  say("database", (time) => `The database is away since ${time} or before. Nothing can be `
    + "submitted and no result can be read; workers wait with what they have.");
  return found;
}

function unserved(model) {
  return `No worker serves ${model.name}: ${counted(model.waiting, "job")} `
    + `${model.waiting === 1 ? "waits" : "wait"} until one starts `
    + `(labelmill worker --models ${model.name}).`;
}
