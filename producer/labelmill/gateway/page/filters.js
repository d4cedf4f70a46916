// The form of filters over the results.

import { ERROR_CODES } from "./advice.js";
import { el, fill } from "./dom.js";
import { stack } from "./stack.js";

const TYPING_PAUSE_MS = 350;

/**
 * The form; it tells its values whenever they change.
 * @param {function(object, {quietly: boolean})} onChange quietly while somebody types
 */
export function filterForm(onChange) {
  const models = el("select", { name: "model", id: "filter-model" });
  const node = el("form", {
    class: "filters", role: "search", "aria-label": "Filter the results",
    on: { submit: (event) => { event.preventDefault(); tell(false); }, input, change },
  },
  field("Search text, image name or job id", el("input", { type: "search", name: "q",
    id: "filter-q", autocomplete: "off", spellcheck: "false" }), "wide"),
  field("Model", models),
  field("Status", select("status", [["", "All"], ["succeeded", "Succeeded"],
    ["failed", "Failed"]])),
  field("Label", el("input", { name: "label", id: "filter-label", autocomplete: "off" })),
  el("details", { class: "more" }, el("summary", {}, "More filters"), el("div", { class: "filters" },
    field("Score from", number("min_score")),
    field("to", number("max_score")),
    field("Run", el("input", { name: "run", id: "filter-run", autocomplete: "off" })),
    field("Error", select("error_code", [["", "All"], ...ERROR_CODES.map((code) => [code, code])])),
    field("Finished after", el("input", { type: "datetime-local", name: "since",
      id: "filter-since" })),
    field("before", el("input", { type: "datetime-local", name: "until", id: "filter-until" })))),
  el("a", { class: "clear", href: "#/results" }, "Clear"));
  let timer = null;
  let current = {};

  function tell(quietly) {
    clearTimeout(timer);
    onChange(Object.fromEntries(new FormData(node)), { quietly });
  }

  function input(event) {
    if (!event.target.matches("input:not([type=datetime-local])")) return;
    clearTimeout(timer);
    timer = setTimeout(() => tell(true), TYPING_PAUSE_MS);
  }

  function change(event) {
    if (event.target.matches("select, [type=datetime-local]")) tell(false);
  }

  function listModels() {
    const names = stack.models.map((model) => model.name);
    const wanted = current.model ?? "";
    if (wanted && !names.includes(wanted)) names.push(wanted);
    const shown = Array.from(models.options, (option) => option.value).slice(1);
    if (!models.options.length || shown.join("\n") !== names.join("\n")) {
      fill(models, el("option", { value: "" }, "All"),
        names.map((name) => el("option", { value: name }, name)));
    }
    models.value = wanted;
  }

  function set(filters) {
    current = filters;
    listModels();
    for (const [name, value] of Object.entries(filters)) {
      const control = node.elements.namedItem(name);
      // Not while somebody types in it: the address lags behind by a moment.
      if (control && control !== document.activeElement) setValue(control, value);
    }
    const hidden = ["min_score", "max_score", "run", "error_code", "since", "until"];
    if (hidden.some((name) => filters[name])) node.querySelector("details").open = true;
    node.querySelector(".clear").hidden = !Object.values(filters).some(Boolean);
  }

  stack.addEventListener("change", listModels);
  return { node, set };
}

function setValue(control, value) {
  if (control instanceof HTMLSelectElement && value
    && !Array.from(control.options).some((option) => option.value === value)) {
    control.append(el("option", { value }, value));
  }
  control.value = value;
}

function field(name, control, kind = "") {
  return el("div", { class: `field ${kind}` }, el("label", { for: control.id }, name), control);
}

function select(name, options) {
  return el("select", { name, id: `filter-${name}` },
    options.map(([value, text]) => el("option", { value }, text)));
}

function number(name) {
  return el("input", { type: "number", name, id: `filter-${name}`, min: 0, max: 1, step: "any",
    inputmode: "decimal" });
}
