// One job in full, over whatever view the reader comes from.

import { Problem, get, jobPath, post } from "./api.js";
import { adviceFor } from "./advice.js";
import { scoreBar } from "./charts.js";
import { el, fill } from "./dom.js";
import { between, count, duration, inFull } from "./format.js";
import { jobPicture } from "./pictures.js";
import { changed, jobLink, replace, to } from "./route.js";
import { stack } from "./stack.js";
import { pause } from "./waiting.js";

const RETRY_MS = 3_000;

const dialog = document.getElementById("job");
const content = el("div");
let open = null; // {id, controller}

/** Show the details of a job, or none. */
export function showDetails(id) {
  if (open?.id === id) return;
  open?.controller.abort();
  open = null;
  if (!id) {
    dialog.close();
    return;
  }
  open = { id, controller: new AbortController() };
  fill(content, el("p", { class: "hint" }, "Reading …"));
  fill(dialog, head(id), content);
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  follow(id, open.controller.signal);
}

dialog.addEventListener("close", () => {
  if (!open) return;
  open.controller.abort();
  open = null;
  replace(changed({ job: null }));
});
// A click beside the dialog is a click on its backdrop, which belongs to the dialog itself.
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close();
});

async function follow(id, signal) {
  let wait = "0s";
  while (!signal.aborted) {
    try {
      const job = await get(`${jobPath(id)}?wait=${wait}`, signal);
      fill(content, body(job));
      if (job.result || job.error) return;
      wait = "10s";
    } catch (error) {
      if (signal.aborted) return;
      const message = error instanceof Problem ? error.message : String(error);
      fill(content, el("p", { class: "notice bad", role: "alert" }, message));
      if (!error.passing) return;
    }
    await pause(wait === "0s" ? RETRY_MS : 500, signal).catch(() => {});
  }
}

function head(id) {
  return el("div", { class: "dialog-head" },
    el("h2", { id: "job-title" }, "Job ", el("code", {}, id)),
    el("button", {
      type: "button", class: "quiet", "aria-label": "Close", autofocus: true,
      on: { click: () => dialog.close() },
    }, "✕"));
}

function body(job) {
  return [
    job.error && failure(job),
    !job.error && !job.result && el("p", { class: "notice" }, `Not finished: ${job.state}, `,
      `${stack.reason(job.model)}. This updates by itself.`),
    input(job),
    job.result && scores(job.result),
    facts(job),
  ];
}

function failure(job) {
  const answer = el("p", { class: "answer", role: "status" });
  const button = replayable(job) && el("button", {
    type: "button", on: { click: () => replay(job, button, answer) },
  }, "Replay");
  return el("div", { class: "notice bad failure" },
    el("p", {}, el("strong", {}, job.error.code), " – ", job.error.message),
    el("p", {}, adviceFor(job.error.code)),
    button
      ? el("div", { class: "actions" }, button,
        el("span", { class: "hint" }, "As a new job; this row stays as it is."))
      : el("p", { class: "hint" }, "Its input is not kept here, so it cannot be replayed from "
        + "this page: submit it again."),
    answer);
}

function replayable(job) {
  return job.error.code === "poisoned" || Boolean(job.input?.text || job.input?.image?.uri);
}

async function replay(job, button, answer) {
  button.disabled = true;
  try {
    const { id } = await sentAgain(job);
    fill(answer, "Replayed as ", el("a", { href: jobLink(id) }, id), ".");
  } catch (error) {
    button.disabled = false;
    fill(answer, `Not replayed: ${error.message}`);
  }
}

/** A dead letter goes back into its queue as it is; any other failed job is submitted anew. */
function sentAgain(job) {
  if (job.error.code === "poisoned") {
    return post(`v1/dead/${encodeURIComponent(job.id)}/replay`, {});
  }
  const { text, image } = job.input;
  return post("v1/jobs", {
    model: job.model,
    ...(text ? { text } : { image: { uri: image.uri, name: image.name } }),
    ...(job.run ? { run: job.run } : {}),
  });
}

function input(job) {
  const image = job.input?.image;
  const named = [image?.name, image?.uri].filter(Boolean)
    .map((each) => el("p", { class: "hint address" }, each));
  if (image) return el("div", { class: "input" }, jobPicture(job), named);
  if (job.input?.text) return el("blockquote", { class: "input" }, job.input.text);
  return el("p", { class: "hint" }, "Its input is not in the ledger: it was sent without the "
    + "client, or is not kept any more.");
}

function scores({ scores: all }) {
  return el("table", { class: "scores" },
    el("caption", { class: "unseen" }, "Labels and their scores"),
    el("thead", { class: "unseen" }, el("tr", {}, el("th", { scope: "col" }, "Label"),
      el("th", { scope: "col" }, "Score"))),
    el("tbody", {}, all.map(({ label, score }) => el("tr", {},
      el("th", { scope: "row" }, label), el("td", {}, scoreBar(score))))));
}

function facts(job) {
  const { result } = job;
  const waited = between(job.enqueued_at, job.started_at);
  const ran = between(job.started_at, job.finished_at);
  const rows = [
    ["Model", job.model],
    ["Checkpoint", result?.checkpoint],
    ["Revision", result?.revision],
    ["Run", job.run && el("a", { href: to("runs", job.run) }, job.run)],
    ["Submitted", job.enqueued_at && inFull(job.enqueued_at)],
    ["Finished", job.finished_at && inFull(job.finished_at)],
    ["Waited", waited !== null && duration(waited)],
    ["Worked on for", ran !== null && duration(ran)],
    ["Attempt", result?.attempt],
    ["Jobs in its group", result?.group_size && count(result.group_size)],
    ["Worker", result?.worker],
  ].filter(([, value]) => value !== null && value !== undefined && value !== false);
  return el("dl", { class: "facts" }, rows.map(([name, value]) => [
    el("dt", {}, name), el("dd", {}, value)]));
}
