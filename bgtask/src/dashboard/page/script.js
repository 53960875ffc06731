// The page of the process: draws the samples of the stream. All data is inserted as text, never as markup.

import { byId, cell, count, each, make, name, show, write } from "./elements.js";
import { announce, filter, offer, watch } from "./filter.js";
import { amount, duration, ended, filled, scheduled, schedules, tasks, tiles, totals } from "./lists.js";
import { follow } from "./stream.js";
import { PHASES, grouped, moment, plural, since, took } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";

const TOTALS = totals(["cancelled", "Cancelled"], ["aborted", "Aborted"]);

function shutdown(all) {
  const { phase, reason, grace_ms, left_ms } = all.shutdown;
  show(byId("shutdown"), phase !== "running");
  if (phase === "running") return;
  write(byId("shutdown-title"), PHASES[phase] || phase);
  const left = phase === "over" ? "" : ` ${since(left_ms)} of ${since(grace_ms)} left.`;
  const running = ` ${plural(all.totals.running, "call has", "calls have")} not ended.`;
  write(byId("shutdown-text"), `Reason: ${reason}.${left}${running}`);
  byId("shutdown-left").value = grace_ms ? left_ms / grace_ms : 0;
}

const STEPS = 121;
const GROUND = 62;

function timeline({ step_ms, started, failed }) {
  const svg = byId("timeline");
  const peak = Math.max(1, ...started, ...failed);
  const width = 960 / STEPS;
  const first = STEPS - started.length;
  // Two bars for each step, and a line between them.
  if (!svg.firstChild) {
    const ground = document.createElementNS(SVG, "rect");
    for (const [field, value] of Object.entries({ class: "ground", x: 0, y: GROUND, width: 960, height: 1 })) {
      ground.setAttribute(field, value);
    }
    svg.append(ground);
    svg.bars = Array.from({ length: STEPS }, (_, step) => ["started", "failed"].map((kind) => {
      const bar = document.createElementNS(SVG, "rect");
      bar.setAttribute("class", step === STEPS - 1 ? `${kind} is-present` : kind);
      bar.setAttribute("x", (step * width).toFixed(2));
      bar.setAttribute("width", (width - 1.5).toFixed(2));
      svg.append(bar);
      return bar;
    }));
  }
  svg.bars.forEach(([up, down], step) => {
    const at = step - first;
    const high = at < 0 || !started[at] ? 0 : Math.max(2, (started[at] / peak) * (GROUND - 2));
    const low = at < 0 || !failed[at] ? 0 : Math.min(24, Math.max(4, (failed[at] / peak) * (GROUND - 2)));
    up.setAttribute("y", (GROUND - high).toFixed(1));
    up.setAttribute("height", high.toFixed(1));
    down.setAttribute("y", GROUND + 1);
    down.setAttribute("height", low.toFixed(1));
  });
  const sum = (counts) => counts.reduce((all, one) => all + one, 0);
  const [ups, downs] = [sum(started), sum(failed)];
  write(byId("timeline-started"), `${grouped.format(ups)} started`);
  write(byId("timeline-failed"), `${grouped.format(downs)} failed`);
  write(byId("timeline-peak"), `peak ${grouped.format(Math.max(...started))} in ${step_ms / 1000} s`);
  svg.setAttribute("aria-label", `In the last ten minutes ${ups} calls started, and ${downs} failed`);
}

function failures({ total, latest }, now, isShown) {
  const shown = latest.filter(isShown);
  write(byId("failures-count"), amount(shown.length, latest.length, total, "the latest "));
  filled("failures", shown.length > 0, latest.length ? "The filter selects none of the failures." : "No failures so far.");
  each(byId("failures"), shown, (failure) => `${failure.id} ${failure.at} ${failure.message}`, (failure) => {
    const element = make("li");
    const line = make("div", "line", element);
    const kind = failure.outcome === "timed out" ? " is-timeout" : "";
    write(make("span", `tag${kind}`, line), failure.outcome);
    name(line)(failure.name);
    const time = make("time", "", line);
    time.dateTime = new Date(failure.at).toISOString();
    write(make("p", `message${kind}`, element), failure.message);
    const at = failure.panicked_at ? `at ${failure.panicked_at}, called at ${failure.called_at}` : `called at ${failure.called_at}`;
    if (failure.fields) write(make("span", "fields", element), failure.fields);
    write(make("span", "location", element), `id ${failure.id}, ${at}`);
    return { element, time };
  }, (row, failure) => {
    write(row.time, `${moment(failure.at, now)}, ${since(now - failure.at)} ago`);
  });
}

const hasFailed = (one) => Number(one.failed + one.panicked + one.timed_out > 0);

function functions(every, retries, isShown) {
  const all = every.filter(isShown);
  const called = all.filter((one) => one.accepted || one.refused || one.coalesced);
  const idle = all.filter((one) => !(one.accepted || one.refused || one.coalesced));
  // Those with failures first, then by name: so that a row keeps its place.
  called.sort((one, other) => hasFailed(other) - hasFailed(one));
  const counted = amount(all.length, every.length, every.length, "");
  write(byId("functions-count"), retries ? `${counted}, ${plural(retries, "retry", "retries")}` : counted);
  show(byId("functions-none"), all.length === 0);
  write(byId("functions-none"), every.length ? "The filter selects none of the functions." : "No background function is linked into this program.");
  show(byId("functions").parentElement, called.length > 0);
  each(byId("functions"), called, (one) => one.name, (one) => {
    const element = make("tr");
    element.setAttribute("role", "row");
    const what = cell(element, "");
    name(what)(one.name);
    if (one.options) write(make("span", "options", what), one.options);
    write(make("span", "location", what), `${one.location}${one.kind === "blocking" ? ", blocking" : ""}`);
    const column = (label) => cell(element, label, "number");
    return {
      element,
      accepted: column("accepted"),
      running: column("running"),
      waiting: column("waiting"),
      succeeded: column("succeeded"),
      failed: column("failed"),
      stopped: column("stopped"),
      rejected: column("not accepted"),
      half: column("p50"),
      most: column("p99"),
      longest: column("max"),
    };
  }, (row, one) => {
    const { live } = one;
    count(row.accepted, one.accepted);
    count(row.running, one.running);
    count(row.waiting, live ? live.waiting + live.backing_off : 0, "warn", live ? [[live.backing_off, "backs off", "back off"]] : []);
    count(row.succeeded, one.succeeded, "", [[one.retries, "retry", "retries"]]);
    count(row.failed, one.failed + one.panicked + one.timed_out, "bad", [[one.failed, "error", "errors"], [one.panicked, "panic", "panics"], [one.timed_out, "timeout", "timeouts"]]);
    count(row.stopped, one.cancelled + one.aborted + one.abandoned, "", [[one.cancelled, "cancelled", "cancelled"], [one.aborted, "aborted", "aborted"], [one.abandoned, "abandoned", "abandoned"]]);
    count(row.rejected, one.refused + one.coalesced, "", [[one.refused, "refused", "refused"], [one.coalesced, "coalesced", "coalesced"]]);
    const waits = one.waited && one.waited.p50_ms >= 1 && one.waited.p50_ms >= one.took.p50_ms / 10;
    duration(row.half, one.took ? one.took.p50_ms : null, waits ? `${took(one.waited.p50_ms)} waiting` : "");
    duration(row.most, one.took ? one.took.p99_ms : null);
    duration(row.longest, one.took ? one.took.max_ms : null);
  });
  show(byId("idle"), idle.length > 0);
  write(byId("idle-summary"), `${plural(idle.length, "function has", "functions have")} not been called`);
  each(byId("idle-list"), idle, (one) => one.name, (one) => {
    const element = make("li");
    name(element)(one.name);
    if (one.options) write(make("span", "options", element), one.options);
    return { element };
  }, () => {});
}

function draw(all) {
  const now = all.taken_at;
  write(byId("since"), `counted for ${since(now - all.since)}, since ${moment(all.since, now)}`);
  shutdown(all);
  tiles(TOTALS, all.totals);
  timeline(all.timeline);
  offer(all.functions.map((one) => one.name));
  const selected = filter();
  failures(all.failures, now, selected.failures);

  const { total, oldest } = all.tasks;
  const live = oldest.filter(selected.tasks);
  write(byId("tasks-count"), amount(live.length, oldest.length, total, "the oldest "));
  filled("tasks", live.length > 0, total ? "The filter selects none of these calls." : "Nothing is running.");
  tasks(live);

  const over = all.ended.filter(selected.ended);
  write(byId("ended-count"), amount(over.length, all.ended.length, all.ended.length, "the latest "));
  filled("ended", over.length > 0, all.ended.length ? "The filter selects none of these calls." : "No call has ended.");
  ended(over, now);

  functions(all.functions, all.totals.retries, selected.functions);

  const planned = all.schedules.filter(selected.schedules);
  show(byId("schedules-panel"), planned.length > 0);
  write(byId("schedules-count"), grouped.format(planned.length));
  schedules(planned, now);

  const later = all.scheduled.first.filter(selected.scheduled);
  show(byId("scheduled-panel"), later.length > 0);
  write(byId("scheduled-count"), amount(later.length, all.scheduled.first.length, all.scheduled.total, "the first "));
  scheduled(later, now);
  announce(selected.isActive ? `${plural(live.length, "live call", "live calls")}, ${plural(over.length, "ended call", "ended calls")}` : "");
  byId("main").classList.remove("is-empty");
}

let last = null;
watch(() => last && draw(last));
follow((sample) => {
  last = sample;
  draw(sample);
});
