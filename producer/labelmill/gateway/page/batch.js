// One submission on the page: its items, how far it is, and what came out.

import { get, jobPath, runPath, withQuery } from "./api.js";
import { progressBar, scoreBar } from "./charts.js";
import { announce, el, fill, setText } from "./dom.js";
import { follow } from "./events.js";
import { count, counted, duration, percent, rate } from "./format.js";
import { filePicture } from "./pictures.js";
import { to } from "./route.js";
import { send } from "./sending.js";
import { stack } from "./stack.js";
import { pause, repeat } from "./waiting.js";

const SHOWN = 100; // items; the rest is in the run's view
const LIVE_UP_TO = 500; // items, as many as one page of results; a larger run is only counted
const LOOK_MS = 2_000;
const LOOK_LIVE_MS = 5_000;
const HURRY_MS = 200; // while every look finds something
const LOOKED_AT_ONCE = 20;

/** A batch of items that go to one model; as one run where there are several. */
export class Batch {
  /**
   * @param {string} model
   * @param {string|null} run its name; null for a single item
   * @param {{name: string, text?: string, file?: File}[]} items
   */
  constructor(model, run, items) {
    Object.assign(this, { model, run, items, accepted: 0, refused: 0, progress: null });
    this.byId = new Map();
    this.controller = new AbortController();
    this.waiting = null; // why sending pauses
    this.live = false;
    this.parts = {
      state: el("p", { class: "state" }),
      bar: el("div"),
      stop: el("button", { type: "button", class: "quiet small",
        on: { click: () => this.stop() } }, "Stop sending"),
      list: el("ol", { class: "items" }, items.slice(0, SHOWN).map((item) => drawn(item))),
    };
    this.node = el("article", { class: "batch panel" },
      el("header", {}, el("h3", {}, this.title()), this.parts.stop), this.parts.state,
      this.parts.bar, this.parts.list,
      items.length > SHOWN && el("p", { class: "hint" }, "The first ", count(SHOWN), " of ",
        count(items.length), " are shown; ", this.runLink("all are in the run"), "."));
  }

  /** Send everything, and follow it until all is done. */
  async start() {
    const redraw = () => this.redraw();
    stack.addEventListener("change", redraw, { signal: this.controller.signal });
    this.redraw();
    const sent = send(this, {
      onAccepted: (item, id) => this.onAccepted(item, id),
      onRefused: (item, problem) => this.onRefused(item, problem),
      onWaiting: (problem, seconds) => this.onWaiting(problem, seconds),
      onGoing: () => { this.waiting = null; redraw(); },
    }, this.controller.signal);
    this.track();
    await sent.catch((error) => this.onStopped(error));
    this.sent = true;
    this.parts.stop.hidden = true;
    if (this.left() === 0) this.finish();
    redraw();
  }

  /** Send nothing more; what was accepted goes on. */
  stop() {
    this.stopped = true;
    this.controller.abort();
  }

  track() {
    this.tracking = new AbortController();
    const { signal } = this.tracking;
    if (this.run && this.isSmall()) {
      follow({ run: this.run }, (job) => this.onResult(job), (live) => { this.live = live; }, signal);
    }
    repeat(() => this.look(signal), () => this.lookAgain(), signal);
  }

  lookAgain() {
    if (this.found > 0) return HURRY_MS;
    return this.live ? LOOK_LIVE_MS : LOOK_MS;
  }

  /** Ask for what no event told: the stream may have opened late, or be broken. */
  async look(signal) {
    const open = this.openItems().length;
    try {
      for (const job of await this.jobs(signal)) this.onResult(job);
      if (this.counting() && this.accepted) this.progress = await get(runPath(this.run), signal);
    } catch {
      // The notices tell that the gateway or the database is away; the next look may succeed.
      await pause(LOOK_MS, signal).catch(() => {});
    }
    if (signal.aborted) return;
    this.found = open - this.openItems().length;
    this.redraw();
    if (this.sent && this.left() === 0) this.finish();
  }

  /** Shown items that were accepted and have no result yet. */
  openItems() {
    return Array.from(this.byId.values()).filter((item) => !item.done);
  }

  async jobs(signal) {
    const open = this.openItems();
    if (!open.length) return [];
    if (this.run && this.isSmall()) {
      const filter = { run: this.run, limit: this.items.length };
      return (await get(withQuery("v1/results", filter), signal)).results;
    }
    const wait = this.run ? "" : "?wait=10s";
    const found = [];
    for (const item of open.slice(0, LOOKED_AT_ONCE)) {
      const job = await get(jobPath(item.id) + wait, signal);
      found.push(job);
      if (!job.finished_at) break; // those after it hardly are
    }
    return found;
  }

  onAccepted(item, id) {
    this.accepted += 1;
    item.id = id;
    if (item.node) this.byId.set(id, item);
    setState(item, "queued");
    this.redraw();
  }

  onRefused(item, problem) {
    this.refused += 1;
    item.done = true;
    setFailure(item, "not accepted", problem.message);
    this.redraw();
  }

  onWaiting(problem, seconds) {
    const cause = problem.status === 429 ? "The gateway asks for patience" : "Not accepted yet";
    this.waiting = `${cause}: ${problem.message} Trying again in ${duration(seconds)}.`;
    this.redraw();
  }

  onStopped(error) {
    for (const item of this.items) {
      if (item.id || item.done) continue;
      this.refused += 1;
      item.done = true;
      setFailure(item, "not sent", this.stopped ? "You stopped the sending." : error.message);
    }
    this.waiting = null;
  }

  onResult(job) {
    const item = this.byId.get(job.id);
    if (!item || item.done) return;
    if (!job.result && !job.error) {
      setState(item, job.state);
      return;
    }
    item.done = true;
    setOutcome(item, job);
    this.redraw();
    if (!this.run || this.items.length <= 10) {
      announce(job.error ? `${item.name}: failed, ${job.error.message}`
        : `${item.name}: ${job.result.label}, ${percent(job.result.score)}`);
    }
  }

  finish() {
    if (this.finished) return;
    this.finished = true;
    this.tracking.abort();
    this.controller.abort();
    this.redraw();
    if (this.run) announce(`${this.plainTitle()}: all done`);
  }

  /** Take it off the page: nothing more is sent or read. */
  close() {
    this.stop();
    this.tracking?.abort();
    this.node.remove();
  }

  isSmall() {
    return this.items.length <= LIVE_UP_TO;
  }

  counting() {
    return this.run !== null && this.items.length > SHOWN;
  }

  /** How many accepted items have no result yet. */
  left() {
    if (this.counting()) {
      const { succeeded = 0, failed = 0 } = this.progress ?? {};
      return Math.max(this.openItems().length, this.accepted - succeeded - failed);
    }
    return this.items.filter((item) => item.id && !item.done).length;
  }

  failed() {
    return this.progress?.failed ?? this.items.filter((item) => item.id && item.failed).length;
  }

  redraw() {
    const unsent = this.items.length - this.accepted - this.refused;
    const left = this.left();
    const done = this.accepted - left;
    setText(this.parts.state, this.sentence(unsent, left, done));
    this.parts.state.classList.toggle("warning", this.waiting !== null);
    this.parts.stop.hidden = this.sent || this.items.length === 1 && !this.waiting;
    if (!this.run) return;
    const failed = this.failed();
    fill(this.parts.bar, progressBar({ id: this.plainTitle(), submitted: this.items.length,
      succeeded: done - failed, failed }));
  }

  sentence(unsent, left, done) {
    if (this.waiting) return this.waiting;
    const sending = unsent > 0 ? `Sending: ${count(this.items.length - unsent)} of `
      + `${count(this.items.length)} sent. ` : "";
    const refused = this.refused && this.items.length > 1
      ? ` ${count(this.refused)} not accepted.` : "";
    if (!this.accepted) return sending || (this.items.length > 1 ? "None was accepted." : "");
    const failed = this.failed();
    if (left === 0 && !unsent) {
      const failures = failed ? `, ${count(failed)} failed` : "";
      return this.run ? `${count(done - failed)} labelled${failures}.${refused}` : "";
    }
    const speed = this.progress?.rate ? `, ${rate(this.progress.rate)}` : "";
    const reason = stack.reason(this.model);
    const why = this.run ? `${count(done)} of ${count(this.accepted)} done${speed}; ${reason}.`
      : `${reason[0].toUpperCase()}${reason.slice(1)}.`;
    return `${sending}${why}${refused}`;
  }

  plainTitle() {
    const what = this.items[0].file ? counted(this.items.length, "image")
      : counted(this.items.length, this.run ? "line" : "text");
    return `${what} to ${this.model}`;
  }

  title() {
    return [this.plainTitle(), this.run && [" · ", this.runLink("open the run")]];
  }

  runLink(text) {
    return el("a", { href: to("runs", this.run) }, text);
  }
}

function drawn(item) {
  item.outcome = el("span", { class: "outcome" });
  item.node = el("li", {}, item.file && filePicture(item.file),
    el("span", { class: "what", title: item.name }, item.name), item.outcome);
  return item.node;
}

function setState(item, state) {
  if (!item.node) return;
  const words = { queued: "queued", running: "running" }[state] ?? state;
  setText(item.outcome, words);
  item.node.className = "pending";
}

function setOutcome(item, job) {
  if (!item.node) return;
  const name = item.node.querySelector(".what");
  fill(name, el("a", { href: to("label", null, { job: job.id }) }, item.name));
  if (job.error) {
    setFailure(item, job.error.code, job.error.message);
    return;
  }
  item.node.className = "arrived";
  fill(item.outcome, el("span", { class: "label" }, job.result.label), scoreBar(job.result.score));
}

function setFailure(item, code, message) {
  item.failed = true;
  if (!item.node) return;
  item.node.className = "arrived failed";
  fill(item.outcome, el("span", { class: "tag bad" }, code), " ",
    el("span", { class: "message" }, message));
}
