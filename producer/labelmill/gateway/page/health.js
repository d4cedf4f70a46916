// The health of the service: its parts, queues, workers, failures and dead letters.

import { get, post } from "./api.js";
import { adviceFor } from "./advice.js";
import { el, fill, fillFrom } from "./dom.js";
import { count, duration, inFull, moment } from "./format.js";
import { jobLink, to } from "./route.js";
import { stack } from "./stack.js";
import { number, table } from "./tables.js";
import { repeat } from "./waiting.js";

const DEAD_MS = 5_000;
const DAY_MS = 24 * 60 * 60 * 1000;

export function createHealth() {
  const parts = { tiles: el("dl", { class: "tiles" }), queues: el("div"), workers: el("div"),
    running: el("div"), failures: el("div"), dead: el("div") };
  const panel = (title, content, hint) => el("section", { class: "panel" }, el("h2", {}, title),
    hint && el("p", { class: "hint" }, hint), content);
  const node = el("section", { class: "health" },
    el("h1", { tabindex: -1 }, "Health"), parts.tiles,
    panel("Queues", parts.queues),
    panel("Workers", parts.workers),
    panel("Models as they run", parts.running, "How the texts of a pass lie: packed is end to end, "
      + "without padding. Why a faster layout was refused stands in the worker's log."),
    panel("Failures of the last 24 hours", parts.failures),
    panel("Dead letters", parts.dead, "Jobs whose worker died each time it had them in hand. "
      + "Mend the cause first; a replay is a new job, and the old row stays."));
  const letters = deadLetters(parts.dead);
  let controller = null;

  const draw = () => {
    if (!stack.health) return;
    node.classList.toggle("stale", stack.problem !== null);
    fillFrom(parts.tiles, stack.health, tiles);
    fillFrom(parts.queues, stack.health.queues ?? null, queuesTable);
    fillFrom(parts.workers, stack.health.workers ?? null, workersTable);
    fillFrom(parts.running, stack.health.workers ?? null, runningTable);
    fillFrom(parts.failures, stack.health.failures ?? null, failuresTable);
  };

  return {
    node,
    show() {
      if (controller) return;
      controller = new AbortController();
      const { signal } = controller;
      stack.addEventListener("change", draw, { signal });
      draw();
      repeat(letters, () => DEAD_MS, signal);
    },
    hide() {
      controller?.abort();
      controller = null;
    },
  };
}

function tiles({ redis, database, queues, workers, dead }) {
  // What is not known of one queue is not known of all together.
  const sum = (name) => (queues?.every((each) => Number.isFinite(each[name]))
    ? queues.reduce((total, each) => total + each[name], 0) : null);
  const state = (value) => [value === "ok" ? "answers" : "away", value === "ok" ? "good" : "bad"];
  return [
    ["Redis", ...state(redis)],
    ["Database", ...state(database)],
    ["Workers", count(workers?.length), workers?.length === 0 ? "bad" : ""],
    ["Waiting", count(sum("waiting"))],
    ["In flight", count(sum("running"))],
    ["Dead letters", count(dead), dead ? "bad" : ""],
  ].map(([name, value, kind = ""]) => el("div", {}, el("dt", {}, name),
    el("dd", { class: kind }, value)));
}

function queuesTable(queues) {
  if (!queues?.some((each) => each.waiting !== null)) return unknown("The queues cannot be read while Redis is away.");
  return table("Queues",
    ["Model", "Served by", "Waiting", "Oldest", "In flight", "Delayed", "Dead"],
    queues.map((queue) => [
      { class: "what", content: queue.name },
      { content: servedBy(queue), class: queue.served === false && queue.waiting ? "bad" : "" },
      number(queue.waiting),
      { class: "number", content: queue.waiting ? duration(queue.oldest_seconds) : "–" },
      number(queue.running), number(queue.delayed), number(queue.dead),
    ]));
}

function servedBy({ served, workers }) {
  if (served === null || served === undefined) return "not known";
  if (!served) return "no worker";
  return workers === 1 ? "1 worker" : `${count(workers)} workers`;
}

function workersTable(workers) {
  if (!workers) return unknown("The workers cannot be seen while Redis is away.");
  if (!workers.length) {
    return el("p", { class: "bad" }, "No worker lives. Jobs are accepted and wait; start one: ",
      el("code", {}, "labelmill worker"), ".");
  }
  return table("Workers",
    ["Worker", "Models", "Device", "In flight", "Jobs", "Groups", "Failed", "Since"],
    workers.map((beat) => [
      { class: "what", content: named(beat) },
      { content: list(beat.models.map((model) => (beat.paused ?? []).includes(model)
        ? `${model} (paused)` : model)) },
      { content: list(beat.devices) },
      number(beat.in_flight), number(beat.jobs), number(beat.groups), number(beat.failed),
      { class: "when", content: beat.started_at && el("time", { datetime: beat.started_at,
        title: inFull(beat.started_at) }, moment(beat.started_at)) },
    ]));
}

/** The worker's name, and what it is at unless it takes jobs. */
function named({ worker, state }) {
  return (state ?? "ready") === "ready" ? worker : `${worker} (${state})`;
}

/** How each worker runs its models; workers of an older version do not tell. */
function runningTable(workers) {
  if (!workers) return unknown("The workers cannot be seen while Redis is away.");
  const rows = workers.flatMap((beat) => Object.entries(beat.running ?? {})
    .map(([model, way]) => [
      { class: "what", content: model },
      { content: beat.worker }, { content: way.device },
      { content: way.dtype ?? "–" }, { content: way.layout ?? "–" }, { content: way.budget ?? "–" },
      number(way.group_size),
    ]));
  if (!rows.length) return none();
  return table("Models as they run",
    ["Model", "Worker", "Device", "Precision", "Layout", "A pass", "A group"], rows);
}

function failuresTable(failures) {
  if (!failures) return unknown("Failures cannot be read while the database is away.");
  if (!failures.length) return none();
  // To the minute, so that the link stays the same while one goes to it.
  const since = localMinute(new Date(Date.now() - DAY_MS));
  return table("Failures", ["Reason", "Jobs", "What to do"],
    failures.map(({ code, count: jobs }) => [
      { class: "what", content: el("a", {
        href: to("results", null, { error_code: code, since }) }, code) },
      number(jobs),
      { class: "advice", content: adviceFor(code) },
    ]));
}

/** The list of dead letters, read every few seconds, with what became of the last replay. */
function deadLetters(place) {
  const underWay = new Set(); // the ids that are being replayed
  const message = el("p", { class: "answer", role: "status" });
  const body = el("div");
  fill(place, message, body);

  async function refresh(signal) {
    try {
      const { dead } = await get("v1/dead", signal);
      fillFrom(body, dead, letters);
    } catch (error) {
      if (signal.aborted) return;
      fillFrom(body, `The dead letters cannot be read: ${error.message}`, unknown);
    }
  }

  function letters(dead) {
    if (!dead.length) return none();
    return table("Dead letters", ["Job", "Model", "Died", "Attempts", "Reason", ""],
      dead.map((letter) => [
        { class: "what", content: el("a", { href: jobLink(letter.id) }, letter.id) },
        { content: letter.model },
        { class: "when", content: letter.died_at ? moment(letter.died_at) : "–" },
        number(letter.attempts),
        { class: "advice", content: letter.reason },
        { content: replayButton(letter) },
      ]));
  }

  function replayButton(letter) {
    const button = el("button", { type: "button", class: "small",
      "aria-label": `Replay ${letter.id}`, disabled: underWay.has(letter.id),
      on: { click: () => replay(letter, button) } }, "Replay");
    return button;
  }

  async function replay(letter, button) {
    button.disabled = true;
    underWay.add(letter.id);
    try {
      const { id } = await post(`v1/dead/${encodeURIComponent(letter.id)}/replay`, {});
      fill(message, "Replayed as ", el("a", { href: jobLink(id) }, id), ".");
      button.closest("tr").remove();
    } catch (error) {
      button.disabled = false;
      fill(message, `${letter.id} was not replayed: ${error.message}`);
    } finally {
      underWay.delete(letter.id);
    }
  }

  return refresh;
}

function list(value) {
  return Array.isArray(value) ? value.join(", ") : String(value ?? "–");
}

function unknown(text) {
  return el("p", { class: "hint" }, text);
}

function none() {
  return el("p", { class: "hint" }, "None.");
}

function localMinute(date) {
  const local = new Date(date.getTime() - date.getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, 16);
}
