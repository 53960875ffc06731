// The lists that both pages have: live calls, ended calls, schedules, counts.

import { byId, cell, count, each, figure, make, name, show, write } from "./elements.js";
import { age, doing, grouped, moment, short, since, took } from "./words.js";

function row() {
  const element = make("tr");
  element.setAttribute("role", "row");
  return element;
}

/** How many of a list are shown, if it is not all of them: of the `which` ones that a sample has, such as the latest. */
export function amount(shown, kept, total, which) {
  if (shown < kept) return `${grouped.format(shown)} of ${which}${grouped.format(kept)}`;
  return kept < total ? `${which}${grouped.format(kept)} of ${grouped.format(total)}` : grouped.format(total);
}

/** Shows a list or, if it is empty, a sentence. */
export function filled(id, isFilled, text) {
  const none = byId(`${id}-none`);
  show(none, !isFilled);
  if (text) write(none, text);
  show(byId(id).parentElement, isFilled);
  const scroll = none.closest(".scroll");
  if (scroll) scroll.classList.toggle("is-nothing", !isFilled);
}

/** The counts of a page: a dozen with its own two, so that their tiles fill whole rows of any width. */
export const totals = (...own) => [
  ["running", "Running", "is-main"],
  ["waiting", "Waiting"],
  ["failed", "Failed", "is-bad"],
  ["panicked", "Panicked", "is-bad"],
  ["timed_out", "Timed out", "is-bad"],
  ["refused", "Refused", "is-warning"],
  ["accepted", "Accepted"],
  ["succeeded", "Succeeded"],
  ["coalesced", "Coalesced"],
  ...own,
  ["abandoned", "Abandoned", "is-warning"],
];

/** Counts by name, each as a tile. */
export function tiles(fields, all) {
  each(byId("totals"), fields, ([field]) => field, ([, label]) => {
    const element = make("div");
    write(make("dt", "", element), label);
    return { element, value: make("dd", "", element) };
  }, (tile, [field, , className]) => {
    const value = all[field];
    write(tile.value, short(value));
    tile.value.title = grouped.format(value);
    tile.element.className = `${className || ""} ${value ? "" : "is-zero"}`;
  });
}

export function tasks(shown) {
  each(byId("tasks"), shown, (task) => task.id, (task) => {
    const element = row();
    const ageCell = cell(element, "", "number");
    const state = cell(element, "", "tag");
    const what = cell(element, "", "what");
    name(what)(task.name);
    if (task.fields) write(make("span", "fields", what), task.fields);
    write(make("span", "location", what), task.called_at);
    write(cell(element, "id", "number note"), String(task.id));
    return { element, age: ageCell, state: make("span", "", state), more: make("small", "", state) };
  }, (item, task) => {
    write(item.age, age(task.age_ms));
    write(item.state, task.state);
    const more = doing(task);
    write(item.more, more);
    show(item.more, Boolean(more));
    item.element.className = task.state === "running" ? "" : "is-held";
  });
}

const BAD = new Set(["failed", "panicked", "aborted", "abandoned"]);

/** The class of an outcome. */
export const tone = (outcome) => (BAD.has(outcome) ? "is-bad" : outcome === "timed out" ? "is-timeout" : outcome === "succeeded" ? "is-good" : "");

export function ended(shown, now) {
  each(byId("ended"), shown, (end) => `${end.id} ${end.at}`, (end) => {
    const element = row();
    const when = make("time", "", cell(element, "", "when"));
    when.dateTime = new Date(end.at).toISOString();
    write(cell(element, "", `outcome ${tone(end.outcome)}`), end.outcome);
    write(cell(element, "", "number"), took(end.took_ms));
    const what = cell(element, "", "what");
    name(what)(end.name);
    if (end.message && end.message !== end.outcome) write(make("span", "reason", what), end.message);
    if (end.fields) write(make("span", "fields", what), end.fields);
    write(make("span", "location", what), end.called_at);
    write(cell(element, "id", "number note"), String(end.id));
    return { element, when };
  }, (item, end) => {
    write(item.when, `${since(now - end.at)} ago`);
    item.when.title = moment(end.at, now);
  });
}

export function schedules(shown, now) {
  each(byId("schedules"), shown, (one) => one.name, (one) => {
    const element = row();
    const what = cell(element, "");
    name(what)(one.name);
    if (one.options) write(make("span", "options", what), one.options);
    const next = cell(element, "next");
    const last = cell(element, "last");
    return {
      element,
      next,
      outcome: make("span", "", last),
      last: make("span", "", last),
      runs: cell(element, "runs", "number"),
      missed: cell(element, "missed", "number"),
    };
  }, (item, one) => {
    write(item.next, next(one, now));
    write(item.outcome, one.last ? one.last.outcome : "–");
    item.outcome.className = one.last ? `outcome ${tone(one.last.outcome)}` : "zero";
    write(item.last, one.last ? ` in ${took(one.last.took_ms)}, ${since(now - one.last.at)} ago` : "");
    count(item.runs, one.runs);
    count(item.missed, one.missed, "warn");
  });
}

export function scheduled(shown, now) {
  each(byId("scheduled"), shown, (one) => `${shown.indexOf(one)}`, () => {
    const element = row();
    const what = cell(element, "");
    return { element, what: name(what, false), due: cell(element, "next"), where: cell(element, "") };
  }, (item, one) => {
    item.what(one.name);
    write(item.due, due(one.due_at, now));
    write(item.where, one.called_at);
  });
}

const due = (at, now) => at <= now ? "now" : `in ${since(at - now + 999)}, at ${moment(at, now)}`;

function next(one, now) {
  if (one.has_ended) return "ended: no further run";
  if (one.waits_for_state) return "waits for state that the program has not provided";
  if (one.is_paused) return "paused";
  if (one.next_at === null) return "after the current run";
  return due(one.next_at, now);
}

/** A duration, or a dash if there is none. */
export function duration(td, ms, note) {
  figure(td, ms === null ? "–" : took(ms), ms === null, "", note);
}
