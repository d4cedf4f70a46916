// The front door of the page: shows the view that the address names.

import { el, fill } from "./dom.js";
import { showDetails } from "./details.js";
import { createHealth } from "./health.js";
import { showNotices } from "./notices.js";
import { createResults } from "./results.js";
import { here } from "./route.js";
import { createRuns } from "./runs.js";
import { stack } from "./stack.js";
import { createSubmit } from "./submit.js";

const VIEWS = {
  label: { title: "Label", create: createSubmit },
  results: { title: "Results", create: createResults },
  runs: { title: "Runs", create: createRuns },
  health: { title: "Health", create: createHealth },
};

const made = new Map();
let shown = null;

/** Show the current place. Views are made once and kept, so that going back loses nothing. */
function show() {
  const place = here();
  const known = VIEWS[place.view];
  const view = known ? viewOf(place.view) : unknownView();
  if (view !== shown) {
    shown?.hide();
    fill(document.getElementById("main"), view.node);
    if (shown) focusOn(view.node);
    shown = view;
    window.scrollTo(0, 0);
  }
  document.title = `${known?.title ?? "Not here"} · Labelmill`;
  for (const link of document.querySelectorAll("[data-view]")) {
    if (link.dataset.view === place.view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  view.show(place);
  showDetails(place.parameters.get("job"));
}

function viewOf(name) {
  if (!made.has(name)) made.set(name, VIEWS[name].create());
  return made.get(name);
}

function unknownView() {
  const node = el("section", {}, el("h1", { tabindex: -1 }, "There is no such view"),
    el("p", {}, "The address may be mistyped. ", el("a", { href: "#/" }, "Label something"), "."));
  return { node, show() {}, hide() {} };
}

function focusOn(node) {
  node.querySelector("h1")?.focus({ preventScroll: true });
}

document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  document.getElementById("main").focus();
});
window.addEventListener("hashchange", show);
// A file that misses the drop zone must not replace the page.
for (const type of ["dragover", "drop"]) {
  window.addEventListener(type, (event) => event.preventDefault());
}
showNotices();
show();
stack.watch(new AbortController().signal);
