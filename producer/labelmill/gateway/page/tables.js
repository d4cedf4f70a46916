// Plain tables of a few rows, as the views of runs and of health have them.

import { el } from "./dom.js";
import { count } from "./format.js";

/**
 * A table that scrolls sideways where there is too little room.
 * @param {string} caption
 * @param {string[]} headings an empty one is for the column of buttons
 * @param {{content: any, class?: string}[][]} rows
 */
export function table(caption, headings, rows) {
  return el("div", { class: "scroller", tabindex: 0, role: "group", "aria-label": caption },
    el("table", { class: "plain" },
      el("caption", { class: "unseen" }, caption),
      el("thead", {}, el("tr", {}, headings.map((name, column) => el("th", {
        scope: "col", class: rows[0]?.[column].class === "number" ? "number" : null },
        name || el("span", { class: "unseen" }, "Replay"))))),
      el("tbody", {}, rows.map((cells) => el("tr", {}, cells.map(({ content, class: kind }) =>
        el("td", { class: kind || null }, content)))))));
}

/** A cell with a count. */
export function number(value) {
  return { class: "number", content: count(value) };
}
