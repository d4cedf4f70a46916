// The first view: type a text or drop files, and see the labels arrive.

import { Batch } from "./batch.js";
import { el, fill, setText } from "./dom.js";
import { MAX_LINES, linesOf, sorted } from "./files.js";
import { count, counted } from "./format.js";
import { newKey } from "./sending.js";
import { stack } from "./stack.js";

const KEPT = 30; // submissions on the page
const CHOSEN = "labelmill-model-"; // + kind, in sessionStorage

const READS = { text: "texts", image: "images" };

export function createSubmit() {
  const model = el("select", { id: "model", "aria-describedby": "model-state" });
  const modelState = el("p", { class: "hint", id: "model-state" });
  const text = el("textarea", { id: "text", rows: 3, maxlength: 262_144,
    "aria-describedby": "text-hint", on: { keydown: submitByKey } });
  const button = el("button", { type: "submit" }, "Label it");
  const files = el("input", { id: "files", type: "file", multiple: true,
    accept: "image/*,.txt,text/plain", on: { change: chosen } });
  const answers = el("div", { class: "answers", role: "status" });
  const arrivals = el("div", { class: "arrivals" }, nothingYet());
  const batches = [];
  const zone = el("div", { class: "zone" },
    el("label", { for: "files" }, "Drop images or a text file here, or choose them"), files,
    el("p", { class: "hint", id: "files-hint" }, "Each image is a job; so is each line of a text "
      + `file (UTF-8, up to ${count(MAX_LINES)} lines).`));
  files.setAttribute("aria-describedby", "files-hint");
  const node = el("section", { class: "submit", on: { dragover, dragleave, drop, paste } },
    el("h1", { tabindex: -1 }, "Label"),
    el("form", { class: "panel", on: { submit } },
      el("div", { class: "field" }, el("label", { for: "model" }, "Model"), model, modelState),
      el("div", { class: "field" }, el("label", { for: "text" }, "Text"), text,
        el("div", { class: "actions" }, button, el("span", { class: "hint", id: "text-hint" },
          "or press Ctrl+Enter"))),
      zone, answers),
    el("h2", {}, "Arrivals"), arrivals);

  function submit(event) {
    event.preventDefault();
    fill(answers);
    const value = text.value.trim();
    if (!value) {
      say("warning", "Type a text first, or drop files.");
      text.focus();
      return;
    }
    if (begin("text", [{ name: value, text: value }], null)) text.value = "";
  }

  function submitByKey(event) {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) submit(event);
  }

  function chosen() {
    take(Array.from(files.files));
    files.value = "";
  }

  function dragover(event) {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
    zone.classList.add("over");
  }

  function dragleave(event) {
    if (!node.contains(event.relatedTarget)) zone.classList.remove("over");
  }

  function drop(event) {
    zone.classList.remove("over");
    if (!event.dataTransfer.files.length) return;
    event.preventDefault();
    take(Array.from(event.dataTransfer.files));
  }

  function paste(event) {
    if (!event.clipboardData.files.length) return;
    event.preventDefault();
    take(Array.from(event.clipboardData.files));
  }

  async function take(given) {
    fill(answers);
    const { images, texts, refused } = sorted(given);
    for (const { name, reason } of refused) say("warning", `${name} was left out: ${reason}.`);
    if (images.length) begin("image", images.map((file) => ({ name: file.name, file })), "images");
    for (const file of texts) {
      try {
        const lines = await linesOf(file);
        begin("text", lines.map((line) => ({ name: line, text: line })), file.name);
      } catch (error) {
        say("warning", `${file.name} was left out: ${error.message}.`);
      }
    }
  }

  /** Begin a batch; false where no model can read its kind. */
  function begin(kind, items, source) {
    const name = modelFor(kind);
    if (!name) {
      say("bad", stack.models.length
        ? `No model here reads ${READS[kind]}: add one to models.toml.`
        : "The models are not known yet: the gateway has not answered.");
      return false;
    }
    // A bare CR or LF cannot stand in the name of a run, nor can too many characters.
    const run = items.length > 1
      ? `${printable(source).slice(0, 100)}-${newKey().slice(0, 8)}` : null;
    const batch = new Batch(name, run, items);
    arrivals.querySelector(".empty")?.remove();
    arrivals.prepend(batch.node);
    batches.unshift(batch);
    for (const old of batches.splice(KEPT)) old.close();
    batch.start();
    return true;
  }

  /** The chosen model where it reads this kind, else one that does; says so when it switches. */
  function modelFor(kind) {
    const able = stack.ofKind(kind);
    const current = able.find((each) => each.name === model.value);
    const earlier = able.find((each) => each.name === sessionStorage.getItem(CHOSEN + kind));
    const found = current ?? earlier ?? able.find((each) => each.served) ?? able[0];
    if (found && !current) {
      const other = stack.model(model.value);
      say("info", `Went to ${found.name}, since ${other?.name} reads ${READS[other?.kind]}.`);
    }
    return found?.name;
  }

  function say(level, words) {
    answers.append(el("p", { class: `notice ${level}` }, words));
  }

  function listModels() {
    const groups = Object.keys(READS).map((kind) => [kind, stack.ofKind(kind)])
      .filter(([, models]) => models.length);
    const key = JSON.stringify(groups.map(([, models]) => models.map((each) => each.name)));
    if (key !== model.dataset.key) {
      const before = model.value;
      fill(model, groups.map(([kind, models]) => el("optgroup", { label: `Reads ${READS[kind]}` },
        models.map((each) => el("option", { value: each.name }, each.name)))));
      model.dataset.key = key;
      model.value = stack.model(before) ? before : firstChoice();
    }
    describe();
  }

  function firstChoice() {
    const served = stack.models.filter((each) => each.served);
    const first = served.find((each) => each.kind === "text") ?? served[0] ?? stack.models[0];
    return first?.name ?? "";
  }

  function describe() {
    setText(modelState, describeModel(stack.model(model.value)));
  }

  model.addEventListener("change", () => {
    sessionStorage.setItem(CHOSEN + stack.model(model.value).kind, model.value);
    describe();
  });
  stack.addEventListener("change", listModels);
  listModels();
  return { node, show() {}, hide() {} };
}

function nothingYet() {
  return el("p", { class: "empty" }, "Nothing submitted since this page was loaded.");
}

function describeModel(model) {
  if (!model) return stack.readAt ? "No model is known." : "";
  const parts = [`${model.checkpoint ?? ""} · reads ${READS[model.kind]}`];
  if (model.served === false) parts.push("no worker serves it now: jobs wait");
  else if (model.served) parts.push(counted(model.workers, "worker"));
  if (model.waiting) parts.push(`${counted(model.waiting, "job")} waiting`);
  return parts.join(" · ");
}

function printable(name) {
  return name.replace(/[^\p{L}\p{N}\p{P}\p{S} ]/gu, "").trim() || "file";
}
