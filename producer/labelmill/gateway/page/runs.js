// The runs: how far each bulk submission is, how fast it goes, and when it will be done.

import { Problem, get, runPath, withQuery } from "./api.js";
import { adviceFor } from "./advice.js";
import { labelHistogram, progressBar, throughputChart } from "./charts.js";
import { el, fill, setText } from "./dom.js";
import { count, counted, duration, inFull, moment, rate } from "./format.js";
import { to } from "./route.js";
import { stack } from "./stack.js";
import { number, table } from "./tables.js";
import { repeat } from "./waiting.js";

const PAGE = 25;
const MOVING_MS = 2_000;
const DONE_MS = 15_000;
const JUST_NOW_MS = 60_000; // more may come: a run that is sent in parts is done in between

export function createRuns() {
  const heading = el("h1", { tabindex: -1 });
  const problem = el("p", { class: "notice bad", role: "alert", hidden: true });
  const content = el("div");
  const node = el("section", { class: "runs" }, heading, problem, content);
  let shown;
  let controller = null;
  let moving = true;

  function show({ argument }) {
    if (controller && shown === argument) return;
    hide();
    shown = argument;
    problem.hidden = true;
    moving = true;
    controller = new AbortController();
    fill(heading, argument === null ? "Runs" : ["Run ", el("code", {}, argument)]);
    fill(content, el("p", { class: "hint" }, "Reading …"));
    const draw = argument === null ? runList(content) : oneRun(content, argument);
    repeat((signal) => refresh(draw, signal), () => (moving ? MOVING_MS : DONE_MS),
      controller.signal);
  }

  async function refresh(draw, signal) {
    try {
      moving = await draw(signal);
      problem.hidden = true;
    } catch (error) {
      if (signal.aborted) return;
      if (error.status === 404) fill(content, el("p", {}, el("a", { href: "#/runs" }, "All runs")));
      const older = content.querySelector("[data-read]") ? " What you see is older." : "";
      setText(problem, (error instanceof Problem ? error.message : String(error)) + older);
      problem.hidden = false;
      moving = true;
    }
  }

  function hide() {
    controller?.abort();
    controller = null;
  }

  return { node, show, hide };
}

/** The list, the newest first; the part that was paged to is kept as it was read. */
function runList(content) {
  const first = el("tbody");
  const older = el("tbody");
  const more = el("button", { type: "button", class: "quiet", hidden: true }, "Show older");
  let next;
  more.addEventListener("click", async () => {
    more.disabled = true;
    try {
      const page = await get(withQuery("v1/runs", { limit: PAGE, cursor: next }));
      older.append(...page.runs.map(runRow));
      next = page.next;
      more.hidden = next === null;
    } finally {
      more.disabled = false;
    }
  });
  return async (signal) => {
    const page = await get(withQuery("v1/runs", { limit: PAGE }), signal);
    if (!content.contains(first)) {
      next = page.next;
      more.hidden = next === null;
      fill(content, page.runs.length ? listTable(first, older) : noRuns(), more);
    }
    fill(first, page.runs.map(runRow));
    if (!page.runs.length) first.remove();
    return page.runs.some((run) => !run.done) || !page.runs.length;
  };
}

function noRuns() {
  return el("p", { class: "empty" }, "No runs yet. Several images, or a text file of lines, ",
    el("a", { href: "#/" }, "dropped here"), " make one; so does ", el("code", {},
      "labelmill submit"), ".");
}

function listTable(...bodies) {
  const headings = ["Run", "Model", "Progress", "Done", "Failed", "Begun"];
  return el("table", { class: "rows", "data-read": true },
    el("caption", { class: "unseen" }, "Runs, the newest first"),
    el("thead", {}, el("tr", {}, headings.map((name) => el("th", { scope: "col" }, name)))), bodies);
}

function runRow(run) {
  const done = run.succeeded + run.failed;
  return el("tr", {},
    el("td", { class: "what" }, el("a", { href: to("runs", run.id) }, run.id)),
    el("td", { class: "model" }, run.model),
    el("td", { class: "wide" }, progressBar(run)),
    el("td", { class: "number" }, `${count(done)} of ${count(run.submitted)}`),
    el("td", { class: "number" }, run.failed ? el("a", { class: "bad",
      href: to("results", null, { run: run.id, status: "failed" }) }, count(run.failed)) : "0"),
    el("td", { class: "when" }, el("time", { datetime: run.created_at,
      title: inFull(run.created_at) }, moment(run.created_at))));
}

function oneRun(content, id) {
  return async (signal) => {
    const filter = { run: id };
    const [run, throughput, summary] = await Promise.all([
      get(runPath(id), signal),
      get(`${runPath(id)}/throughput`, signal),
      get(withQuery("v1/results/summary", filter), signal),
    ]);
    // A redraw must not take the focus from who goes through the links with the keyboard.
    const focused = content.contains(document.activeElement)
      ? document.activeElement.getAttribute("href") : null;
    fill(content, drawRun(run, throughput, summary));
    if (focused) {
      Array.from(content.querySelectorAll("a"))
        .find((link) => link.getAttribute("href") === focused)?.focus();
    }
    return !run.done || Date.now() - Date.parse(run.submitted_at) < JUST_NOW_MS;
  };
}

function drawRun(run, throughput, summary) {
  return el("div", { "data-read": true },
    el("p", { class: "hint" }, `${run.source ?? ""}${run.source ? " → " : ""}${run.model}, begun `,
      el("time", { datetime: run.created_at }, inFull(run.created_at))),
    el("p", { class: "state", role: "status" }, stateOf(run)),
    progressBar(run),
    tiles(run),
    el("div", { class: "histograms" },
      el("section", { class: "panel" }, el("h2", {}, "Throughput"), throughputChart(throughput)),
      el("section", { class: "panel" }, el("h2", {}, "Labels"),
        labelHistogram(summary.labels, (label) => to("results", null, { run: run.id, label }),
          null))),
    failures(run, summary),
    el("p", { class: "after" }, el("a", { href: to("results", null, { run: run.id }) },
      "All results of this run")));
}

function stateOf(run) {
  const left = run.submitted - run.succeeded - run.failed;
  if (run.done) return run.failed ? "Done, with failures." : "Done.";
  if (!left && !run.submitted_at) return "All that was submitted so far is done; more may come.";
  if (run.rate > 0) {
    return run.submitted_at ? `${counted(left, "job")} to go.`
      : `${counted(left, "job")} to go, and more may come: it is still being submitted.`;
  }
  return `${counted(left, "job")} to go, none finished in the last minute: `
    + `${stack.reason(run.model)}.`;
}

function tiles(run) {
  const left = run.eta_seconds === null ? "not known" : `about ${duration(run.eta_seconds)}`;
  return el("dl", { class: "tiles" }, [
    ["Submitted", count(run.submitted)],
    ["Succeeded", count(run.succeeded)],
    ["Failed", count(run.failed)],
    ...(run.done ? [] : [["Rate, last minute", rate(run.rate)], ["Time left", left]]),
  ].map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

function failures(run, { errors }) {
  if (!errors.length) return null;
  return el("section", { class: "panel" }, el("h2", {}, "Failures"),
    table("Failures", ["Reason", "Jobs", "What to do"], errors.map(({ code, count: jobs }) => [
      { class: "what", content: el("a", {
        href: to("results", null, { run: run.id, error_code: code }) }, code) },
      number(jobs),
      { class: "advice", content: adviceFor(code) },
    ])));
}
