// Elements of the pages. All data is inserted as text, never as markup. A row keeps its element as long as its item exists, so that
// focus, selection and scroll position survive the next sample.

import { grouped, plural } from "./words.js";

const beside = new URL(".", import.meta.url);

export const byId = (id) => document.getElementById(id);

export function make(tag, className, parent) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (parent) parent.append(element);
  return element;
}

/** Writes a text only if it has changed, so that selections and screen readers are not disturbed. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** The states of a page's connection: "connecting" stands in the page before its first sample. */
const MARKS = { live: "●", stopping: "▲", lost: "✕" };

/** Shows how the page is connected. */
export function state(kind, text) {
  byId("state").dataset.state = kind;
  write(byId("state-mark"), MARKS[kind]);
  write(byId("state-text"), text);
  byId("main").classList.toggle("is-stale", kind === "lost");
}

export function show(element, visible) {
  element.hidden = !visible;
}

/** Gives each item a child, in order. Each child is built once and filled with each sample. */
export function each(parent, items, key, build, fill) {
  const known = (parent.known ??= new Map());
  const gone = new Set(known.keys());
  let before = null;
  for (const item of items) {
    const id = key(item);
    let row = known.get(id);
    if (!row) {
      row = build(item);
      known.set(id, row);
    }
    gone.delete(id);
    fill(row, item);
    const next = before ? before.nextSibling : parent.firstChild;
    if (next !== row.element) parent.insertBefore(row.element, next);
    before = row.element;
  }
  for (const id of gone) {
    known.get(id).element.remove();
    known.delete(id);
  }
}

/** Shows a function's name, with its own part emphasized, as a link to its page. */
export function name(parent, isLink = true) {
  const line = make(isLink ? "a" : "span", "function", parent);
  const module = make("span", "module", line);
  const own = make("span", "name", line);
  return (full) => {
    if (isLink) line.href = new URL(`function?name=${encodeURIComponent(full)}`, beside);
    const at = full.lastIndexOf("::");
    write(module, at < 0 ? "" : full.slice(0, at + 2));
    write(own, at < 0 ? full : full.slice(at + 2));
  };
}

export function cell(row, label, className) {
  const td = make("td", className || "", row);
  td.setAttribute("role", "cell");
  if (label) td.dataset.label = label;
  return td;
}

/** Shows a figure, with a note below. */
export function figure(td, text, isNothing, className, note) {
  td.figure ??= make("span", "", td);
  td.note ??= make("small", "", td);
  write(td.figure, text);
  write(td.note, note || "");
  show(td.note, Boolean(note));
  td.className = `number ${isNothing ? "zero is-nothing" : className || ""}`;
}

/** Shows a count and, if it is a sum, its parts. */
export function count(td, value, className, parts) {
  const of = (parts || []).filter(([value]) => value).map(([value, one, many]) => plural(value, one, many));
  figure(td, grouped.format(value), !value, className, of.join(", "));
}
