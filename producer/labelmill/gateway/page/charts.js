// Bars and charts: small, without a library, and links where a part of one is a filter.

import { el, svg } from "./dom.js";
import { count, counted, duration, moment, percent } from "./format.js";

const LABELS_SHOWN = 12;

/** A score as a bar with its number. */
export function scoreBar(score) {
  const bar = el("span", { class: "bar", "aria-hidden": "true" }, el("span"));
  bar.firstChild.style.inlineSize = `${score * 100}%`;
  return el("span", { class: "score" }, bar, el("span", { class: "number" }, percent(score)));
}

/** How far a run is: what succeeded and what failed, of what was submitted. */
export function progressBar(run) {
  const done = run.succeeded + run.failed;
  const bar = el("div", {
    class: "progress", role: "progressbar", "aria-label": `Progress of ${run.id}`,
    "aria-valuemin": 0, "aria-valuemax": run.submitted, "aria-valuenow": done,
    "aria-valuetext": `${count(done)} of ${counted(run.submitted, "job")}`,
  }, el("span", { class: "good" }), el("span", { class: "failed" }));
  const [good, failed] = bar.children;
  good.style.inlineSize = share(run.succeeded, run.submitted);
  failed.style.inlineSize = share(run.failed, run.submitted);
  return bar;
}

/**
 * The labels with their counts, each a link that filters by it.
 * @param {[{label: string, count: number}]} labels the most frequent first
 * @param {function(string): string} href
 * @param {string|null} active the label that is filtered by
 */
export function labelHistogram(labels, href, active) {
  if (!labels.length) return el("p", { class: "hint" }, "No labels.");
  const most = labels[0].count;
  const shown = labels.slice(0, LABELS_SHOWN);
  const chosen = labels.find((each) => each.label === active);
  if (chosen && !shown.includes(chosen)) shown.push(chosen);
  const rest = labels.length - shown.length;
  return el("div", {},
    el("ul", { class: "labels" }, shown.map(({ label, count: number }) => {
      const bar = el("span", { class: "bar", "aria-hidden": "true" }, el("span"));
      bar.firstChild.style.inlineSize = share(number, most);
      return el("li", {}, el("a", {
        href: href(label), "aria-current": label === active ? "true" : null,
        title: label === active ? "Show all labels again" : `Show only ${label}`,
      }, el("span", { class: "name" }, label), bar,
      el("span", { class: "number" }, count(number))));
    })),
    rest > 0 && el("p", { class: "hint" }, `and ${counted(rest, "more label")}`));
}

/**
 * The scores in twenty bins, each a link that filters by its range.
 * @param {{edges: number[], counts: number[]}} scores
 * @param {function(number, number): string} href
 * @param {function(number, number): boolean} isActive
 */
export function scoreHistogram({ edges, counts }, href, isActive) {
  const [width, height] = [400, 120];
  const most = Math.max(1, ...counts);
  const step = width / counts.length;
  const bars = counts.map((number, bin) => {
    const [low, high] = [edges[bin], edges[bin + 1]];
    const tall = number ? Math.max(2, (number / most) * height) : 0;
    const name = `Score ${low.toFixed(2)} to ${high.toFixed(2)}: ${counted(number, "result")}`;
    return svg("a", {
      href: href(low, high), "aria-label": name, "aria-current": isActive(low, high) ? "true" : null,
      tabindex: number ? 0 : -1,
    },
    svg("title", {}, name),
    svg("rect", { class: "reach", x: bin * step, y: 0, width: step, height }),
    svg("rect", {
      class: "column", x: bin * step + 1, y: height - tall, width: step - 2, height: tall, rx: 1,
    }));
  });
  return el("div", { class: "histogram" },
    svg("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "group",
      "aria-label": "Histogram of scores" }, bars),
    axis("0", "0.5", "1"));
}

/** Results over time, a column a bucket: what succeeded, and on it what failed. */
export function throughputChart({ bucket_seconds: seconds, buckets }) {
  if (!buckets.length) return el("p", { class: "hint" }, "Nothing has finished yet.");
  const [width, height] = [600, 120];
  const most = Math.max(1, ...buckets.map((each) => each.succeeded + each.failed));
  const step = width / buckets.length;
  const columns = buckets.map((bucket, index) => {
    const good = (bucket.succeeded / most) * height;
    const bad = (bucket.failed / most) * height;
    const column = (kind, y, tall) => tall > 0 && svg("rect", {
      class: kind, x: index * step + step * 0.08, y, width: step * 0.84, height: tall,
    });
    return svg("g", {},
      svg("title", {}, `${moment(bucket.at)}: ${count(bucket.succeeded)} succeeded, `
        + `${count(bucket.failed)} failed`),
      column("column", height - good, good),
      column("column failed", height - good - bad, bad));
  });
  const peak = most / seconds;
  const label = `Results over time, ${duration(seconds)} a column; at most `
    + `${peak >= 10 ? count(Math.round(peak)) : peak.toFixed(1)} jobs a second`;
  return el("figure", { class: "histogram" },
    svg("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img",
      "aria-label": label }, columns),
    axis(moment(buckets[0].at), moment(buckets.at(-1).at)),
    el("figcaption", { class: "hint" }, `${label}.`));
}

function axis(...ticks) {
  return el("div", { class: "axis", "aria-hidden": "true" },
    ticks.map((tick) => el("span", {}, tick)));
}

function share(part, all) {
  return `${all ? Math.min(100, (part / all) * 100) : 0}%`;
}
