// The results: filters that live in the address, histograms that set them, and pages of rows.

import { Problem, get, withQuery } from "./api.js";
import { labelHistogram, scoreBar, scoreHistogram } from "./charts.js";
import { el, fill, setText } from "./dom.js";
import { count, counted, inFull, moment } from "./format.js";
import { filterForm } from "./filters.js";
import { jobPicture } from "./pictures.js";
import { changed, here, jobLink, replace, to } from "./route.js";
import { repeat } from "./waiting.js";

const PAGE = 50;
const LOOK_AGAIN_MS = 4_000;

/** The names of the filters, here and in the API. */
export const FILTERS = ["model", "label", "status", "run", "error_code", "min_score", "max_score",
  "since", "until", "q"];

export function createResults() {
  const parts = {
    form: filterForm(applyFilters),
    total: el("p", { class: "total", role: "status" }),
    problem: el("p", { class: "notice bad", role: "alert", hidden: true }),
    fresh: el("button", { type: "button", hidden: true, on: { click: reload } }),
    labels: el("div"),
    scores: el("div"),
    errors: el("div"),
    rows: el("tbody"),
    older: el("button", { type: "button", class: "quiet", hidden: true, on: { click: showOlder } },
      "Show older"),
  };
  const state = { filters: null, next: null, newest: null, summary: null, controller: null };
  const node = page(parts);

  function show({ parameters }) {
    const filters = Object.fromEntries(FILTERS.map((name) => [name, parameters.get(name) ?? ""]));
    const same = JSON.stringify(filters) === JSON.stringify(state.filters);
    if (same && state.controller) return; // only the open job differs
    state.filters = filters;
    parts.form.set(filters);
    reload();
  }

  function hide() {
    state.controller?.abort();
    state.controller = null;
  }

  function reload() {
    hide();
    state.controller = new AbortController();
    state.newest = null;
    state.summary = null;
    parts.fresh.hidden = true;
    parts.older.hidden = true;
    parts.rows.closest("table").setAttribute("aria-busy", "true");
    repeat(refresh, () => LOOK_AGAIN_MS, state.controller.signal);
  }

  /**
   * Read the first page, then the summary, which takes longer where there are many; rows that are
   * shown already are not moved.
   */
  async function refresh(signal) {
    try {
      const first = await get(
        withQuery("v1/results", { ...asked(state.filters), limit: PAGE }), signal);
      if (state.newest === null) {
        setText(parts.total, "Counting …");
        drawFirst(first);
      } else offerNew(first);
      drawSummaryOnce(await summaries(state.filters, signal));
      parts.problem.hidden = true;
    } catch (error) {
      if (signal.aborted || error.code === "still_counting") return;
      showProblem(error);
    }
  }

  function drawFirst({ results, next }) {
    state.newest = results[0]?.id ?? "";
    state.next = next;
    fill(parts.rows, results.length ? results.map(row) : emptyRow(state.filters));
    parts.rows.closest("table").removeAttribute("aria-busy");
    parts.older.hidden = next === null;
  }

  /** What is the same stays: a link that is drawn anew loses the focus, and a click in progress. */
  function drawSummaryOnce(summary) {
    const drawn = JSON.stringify([summary, state.filters]);
    if (drawn === state.summary) return;
    state.summary = drawn;
    drawSummary(parts, summary, state.filters);
  }

  function offerNew({ results }) {
    const known = results.findIndex((job) => job.id === state.newest);
    const number = known < 0 ? results.length : known;
    parts.fresh.hidden = number === 0;
    const shown = known < 0 && number === PAGE ? `${PAGE} or more new results`
      : counted(number, "new result");
    if (number) setText(parts.fresh, `Show ${shown}`);
  }

  async function showOlder() {
    const { signal } = state.controller;
    parts.older.disabled = true;
    try {
      const page = await get(withQuery("v1/results",
        { ...asked(state.filters), limit: PAGE, cursor: state.next }), signal);
      const rows = page.results.map(row);
      parts.rows.append(...rows);
      state.next = page.next;
      parts.older.hidden = page.next === null;
      rows[0]?.querySelector("a").focus();
    } catch (error) {
      if (!signal.aborted) showProblem(error);
    } finally {
      parts.older.disabled = false;
    }
  }

  function showProblem(error) {
    const message = error instanceof Problem ? error.message : String(error);
    const older = state.newest !== null;
    if (!older) fill(parts.rows); // they belong to other filters
    setText(parts.problem, `The results cannot be read: ${message}`
      + (older ? " What you see is older." : ""));
    parts.problem.hidden = false;
  }

  return { node, show, hide };
}

function applyFilters(filters, { quietly }) {
  const link = changed({ ...filters, job: null });
  if (quietly) replace(link);
  else location.hash = link;
}

/** The filters as the API takes them: local times become UTC. */
function asked(filters) {
  const utc = (time) => (time && !Number.isNaN(Date.parse(time))
    ? new Date(time).toISOString() : "");
  return { ...filters, since: utc(filters.since), until: utc(filters.until) };
}

/** The summary; each histogram without its own filter, so that one sees what else there is. */
async function summaries(filters, signal) {
  const read = (changes) => get(
    withQuery("v1/results/summary", { ...asked(filters), ...changes }), signal);
  const ranged = filters.min_score || filters.max_score;
  const [all, labels, scores] = await Promise.all([
    read({}),
    filters.label ? read({ label: "" }) : null,
    ranged ? read({ min_score: "", max_score: "" }) : null,
  ]);
  return { ...all, labels: (labels ?? all).labels, scores: (scores ?? all).scores };
}

function drawSummary(parts, summary, filters) {
  setText(parts.total, `${summary.complete ? "" : "Of the newest ones that were looked through, "}`
    + `${counted(summary.total, "result")}: ${count(summary.succeeded)} succeeded, `
    + `${count(summary.failed)} failed`);
  const toggled = (name, value) => changed({ [name]: filters[name] === value ? null : value,
    job: null });
  fill(parts.labels, labelHistogram(summary.labels, (label) => toggled("label", label),
    filters.label));
  const isActive = (low, high) => Number(filters.min_score) === low && filters.min_score !== ""
    && Number(filters.max_score) === high && filters.max_score !== "";
  fill(parts.scores, scoreHistogram(summary.scores, (low, high) => changed(isActive(low, high)
    ? { min_score: null, max_score: null, job: null }
    : { min_score: String(low), max_score: String(high), job: null }), isActive));
  fill(parts.errors, summary.errors.length > 0 && [
    el("h2", {}, "Failures"),
    el("ul", { class: "chips" }, summary.errors.map(({ code, count: number }) => el("li", {},
      el("a", { href: toggled("error_code", code),
        "aria-current": code === filters.error_code ? "true" : null },
      `${code} · ${count(number)}`)))),
  ]);
}

function page(parts) {
  const headings = ["Input", "Label", "Score", "Model", "Run", "Finished"];
  return el("section", { class: "results" },
    el("h1", { tabindex: -1 }, "Results"),
    parts.form.node,
    parts.problem,
    parts.total,
    el("div", { class: "histograms" },
      el("section", { class: "panel" }, el("h2", {}, "Labels"), parts.labels),
      el("section", { class: "panel" }, el("h2", {}, "Scores of the top label"), parts.scores,
        parts.errors)),
    el("div", { class: "fresh" }, parts.fresh),
    el("table", { class: "rows", on: { click: openRow, keydown: moveBetweenRows } },
      el("caption", { class: "unseen" }, "Results, the newest first"),
      el("thead", {}, el("tr", {}, headings.map((name) => el("th", { scope: "col" }, name)))),
      parts.rows),
    parts.older);
}

/** What a job was about, in one line. */
export function inputName(job) {
  const { name, uri } = job.input?.image ?? {};
  if (name) return name;
  if (uri?.startsWith("upload:")) return "Uploaded image";
  if (uri) return uri.split("/").at(-1) || uri;
  if (job.input?.image) return "Image";
  return job.input?.text?.trim() || job.id;
}

function row(job) {
  const { result, error } = job;
  return el("tr", { "data-id": job.id, class: error ? "failed" : null },
    el("td", { class: "what" }, jobPicture(job),
      el("a", { href: jobLink(job.id) }, inputName(job))),
    error
      ? el("td", { class: "outcome", colspan: 2 }, el("span", { class: "tag bad" }, error.code), " ",
        el("span", { class: "message" }, error.message))
      : [el("td", { class: "label" }, result.label), el("td", {}, scoreBar(result.score))],
    el("td", { class: "model" }, job.model),
    el("td", { class: "run" }, job.run && el("a", { href: to("runs", job.run) }, job.run)),
    el("td", { class: "when" }, el("time", {
      datetime: job.finished_at, title: inFull(job.finished_at) }, moment(job.finished_at))));
}

function emptyRow(filters) {
  const any = Object.values(filters).some(Boolean);
  return el("tr", { class: "empty" }, el("td", { colspan: 6 }, any
    ? ["No result fits these filters. ", el("a", { href: "#/results" }, "Clear the filters"), "."]
    : ["No results yet. ", el("a", { href: "#/" }, "Label something"), "."]));
}

function openRow(event) {
  const line = event.target.closest("tr[data-id]");
  if (!line || event.target.closest("a") || !getSelection().isCollapsed) return;
  // Links of rows are made for the place where they were drawn; this is for the current one.
  location.hash = changed({ job: line.dataset.id }, here());
}

function moveBetweenRows(event) {
  const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
  const line = event.target.closest("tr[data-id]");
  if (!step || !line) return;
  const link = line[step]?.querySelector(".what a");
  if (!link) return;
  event.preventDefault();
  link.focus();
}
