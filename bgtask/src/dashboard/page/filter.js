// The filter of the lists: a function, a state or an outcome, and a text. It is kept in the address, so that it can be shared.

import { byId, write } from "./elements.js";

const FIELDS = { q: "filter-text", function: "filter-function", state: "filter-state" };
let changed = () => {};

/** The values that the address has. */
function values() {
  const query = new URLSearchParams(location.search);
  return Object.fromEntries(Object.keys(FIELDS).map((name) => [name, query.get(name) || ""]));
}

/** Writes the values of the fields to the address. */
function keep() {
  const query = new URLSearchParams();
  for (const [name, id] of Object.entries(FIELDS)) {
    if (byId(id).value) query.set(name, byId(id).value);
  }
  const text = query.toString();
  history.replaceState(null, "", text ? `?${text}` : location.pathname);
  changed();
}

/** Writes the values of the address to the fields, and adds options that a later sample may offer. */
function restore() {
  for (const [name, value] of Object.entries(values())) {
    const field = byId(FIELDS[name]);
    if (field.tagName === "SELECT" && value && ![...field.options].some((one) => one.value === value)) {
      field.append(new Option(value, value));
    }
    field.value = value;
  }
}

/** Offers the functions of a sample. The chosen one stays. */
export function offer(names) {
  const field = byId("filter-function");
  const known = new Set([...field.options].map((one) => one.value));
  for (const one of names) {
    if (!known.has(one)) field.append(new Option(one, one));
  }
}

/** Returns which items of the lists the filter selects: functions, live calls, failures, ends, schedules and calls for later. */
export function filter() {
  const { q, function: own, state } = values();
  const words = q.toLowerCase().split(/\s+/).filter(Boolean);
  const isActive = Boolean(q || own || state);
  document.body.classList.toggle("is-filtered", isActive);
  byId("filter-clear").disabled = !isActive;
  const has = (...texts) => {
    const text = texts.join("\n").toLowerCase();
    return words.every((word) => text.includes(word));
  };
  const is = (name, ...states) => (!own || name === own) && (!state || states.includes(state));
  return {
    isActive,
    functions: (one) => {
      const outcomes = ["failed", "panicked", "succeeded", "cancelled", "aborted", "abandoned", "running"].filter((field) => one[field]);
      const live = one.live || {};
      const states = [one.timed_out && "timed out", live.waiting && "waiting", live.backing_off && "backing off", live.queued && "queued"];
      return is(one.name, ...outcomes, ...states) && has(one.name, one.options, one.location);
    },
    tasks: (one) => is(one.name, one.state) && has(one.name, one.called_at, one.fields || "", one.id),
    failures: (one) => is(one.name, one.outcome) && has(one.name, one.message, one.called_at, one.panicked_at || "", one.fields || "", one.id),
    ended: (one) => is(one.name, one.outcome) && has(one.name, one.message || "", one.called_at, one.fields || "", one.id),
    schedules: (one) => is(one.name, one.last ? one.last.outcome : "") && has(one.name, one.options),
    scheduled: (one) => is(one.name, "scheduled") && has(one.name, one.called_at),
  };
}

/** Says how much the filter selects, for those who cannot see it. */
export function announce(text) {
  write(byId("filter-result"), text);
}

/** Calls `redraw` whenever the filter changes. */
export function watch(redraw) {
  changed = redraw;
  restore();
  byId("filter").addEventListener("input", keep);
  byId("filter-clear").addEventListener("click", () => {
    for (const id of Object.values(FIELDS)) byId(id).value = "";
    keep();
    byId("filter-text").focus();
  });
  // The key "/" leads to the text.
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches("input, textarea, select")) return;
    event.preventDefault();
    byId("filter-text").focus();
    byId("filter-text").select();
  });
}
