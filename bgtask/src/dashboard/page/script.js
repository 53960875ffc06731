// Draws the samples of the stream. All data is inserted as text, never as markup. A row keeps its element as long as its item
// exists, so that focus, selection and scroll position survive the next sample.
"use strict";

(() => {
  const beside = new URL(".", document.currentScript.src);
  const byId = (id) => document.getElementById(id);
  const SVG = "http://www.w3.org/2000/svg";

  // Words and figures.

  const grouped = new Intl.NumberFormat("en");
  const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const dated = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
  const two = (number) => String(number).padStart(2, "0");

  /** How long something has been running, as precisely as a reader can follow. */
  function age(ms) {
    const s = Math.floor(ms / 1000);
    if (s < 10) return `${(ms / 1000).toFixed(1)} s`;
    if (s < 60) return `${s} s`;
    if (s < 3600) return `${Math.floor(s / 60)} m ${two(s % 60)} s`;
    if (s < 86400) return `${Math.floor(s / 3600)} h ${two(Math.floor(s / 60) % 60)} m`;
    return `${Math.floor(s / 86400)} d ${two(Math.floor(s / 3600) % 24)} h`;
  }

  /** The same in whole seconds, for times in the past or future. */
  const since = (ms) => age(Math.max(0, ms)).replace(/\.\d/, "");

  /** How long something took. */
  function took(ms) {
    if (ms < 1) return `${Math.round(ms * 1000)} µs`;
    if (ms < 10) return `${ms.toFixed(1)} ms`;
    if (ms < 1000) return `${Math.round(ms)} ms`;
    if (ms < 60000) return `${(ms / 1000).toFixed(1)} s`;
    return age(ms);
  }

  /** A point in time, with the day if it is not near. */
  function moment(at, now) {
    return (Math.abs(at - now) < 72000000 ? clock : dated).format(new Date(at));
  }

  const plural = (count, one, many) => `${grouped.format(count)} ${count === 1 ? one : many}`;

  // Elements.

  function make(tag, className, parent) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (parent) parent.append(element);
    return element;
  }

  /** Writes a text only if it has changed, so that selections and screen readers are not disturbed. */
  function write(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  function show(element, visible) {
    element.hidden = !visible;
  }

  /** Gives each item a child, in order. Each child is built once and filled with each sample. */
  function each(parent, items, key, build, fill) {
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

  /** Shows a function's name, with its own part emphasized. */
  function name(parent) {
    const line = make("span", "", parent);
    const module = make("span", "module", line);
    const own = make("span", "name", line);
    return (full) => {
      const at = full.lastIndexOf("::");
      write(module, at < 0 ? "" : full.slice(0, at + 2));
      write(own, at < 0 ? full : full.slice(at + 2));
    };
  }

  function cell(row, label, className) {
    const td = make("td", className || "", row);
    td.setAttribute("role", "cell");
    if (label) td.dataset.label = label;
    return td;
  }

  /** Shows a figure, with a note below. */
  function figure(td, text, isNothing, className, note) {
    td.figure ??= make("span", "", td);
    td.note ??= make("small", "", td);
    write(td.figure, text);
    write(td.note, note || "");
    show(td.note, Boolean(note));
    td.className = `number ${isNothing ? "zero is-nothing" : className || ""}`;
  }

  /** Shows a count and, if it is a sum, its parts. */
  function count(td, value, className, parts) {
    const of = (parts || []).filter(([value]) => value).map(([value, one, many]) => plural(value, one, many));
    figure(td, grouped.format(value), !value, className, of.join(", "));
  }

  // The sections.

  const TOTALS = [
    ["running", "Running", "is-main"],
    ["waiting", "Waiting"],
    ["accepted", "Accepted"],
    ["succeeded", "Succeeded"],
    ["failed", "Failed", "is-bad"],
    ["panicked", "Panicked", "is-bad"],
    ["timed_out", "Timed out", "is-bad"],
    ["cancelled", "Cancelled"],
    ["aborted", "Aborted"],
    ["abandoned", "Abandoned"],
    ["refused", "Refused"],
    ["coalesced", "Coalesced"],
    ["retries", "Retries"],
  ];

  function totals(all) {
    each(byId("totals"), TOTALS, ([field]) => field, ([, label]) => {
      const element = make("div");
      write(make("dt", "", element), label);
      return { element, value: make("dd", "", element) };
    }, (row, [field, , className]) => {
      const value = all[field];
      write(row.value, grouped.format(value));
      row.element.className = `${className || ""} ${value ? "" : "is-zero"}`;
    });
  }

  const PHASES = {
    running: "Running",
    stopping: "Stopping",
    draining: "Draining",
    expired: "Deadline passed",
    over: "Shut down",
  };

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

  function tasks({ total, oldest }) {
    const hidden = total - oldest.length;
    write(byId("tasks-count"), hidden ? `the oldest ${grouped.format(oldest.length)} of ${grouped.format(total)}` : grouped.format(total));
    show(byId("tasks-none"), total === 0);
    show(byId("tasks").parentElement, total > 0);
    each(byId("tasks"), oldest, (task) => task.id, (task) => {
      const element = make("tr");
      element.setAttribute("role", "row");
      const row = { element, age: cell(element, "", "number"), state: cell(element, "", "tag") };
      const what = cell(element, "", "what");
      name(what)(task.name);
      write(make("span", "location", what), task.called_at);
      write(cell(element, "id", "number note"), String(task.id));
      return row;
    }, (row, task) => {
      write(row.age, age(task.age_ms));
      const attempt = task.attempt > 1 ? `, attempt ${task.attempt}` : "";
      // Only a task of a durable function has a job.
      const job = task.job ? `, job ${task.job.id} of ${task.job.queue}` : "";
      write(row.state, task.state + attempt + job);
      row.element.className = task.state === "running" ? "" : "is-held";
    });
  }

  function failures({ total, latest }, now) {
    const hidden = total - latest.length;
    write(byId("failures-count"), hidden ? `the latest ${grouped.format(latest.length)} of ${grouped.format(total)}` : grouped.format(total));
    show(byId("failures-none"), total === 0);
    each(byId("failures"), latest, (failure) => `${failure.id} ${failure.at} ${failure.message}`, (failure) => {
      const element = make("li");
      const line = make("div", "line", element);
      const kind = failure.outcome === "timed out" ? " is-timeout" : "";
      write(make("span", `tag${kind}`, line), failure.outcome);
      name(line)(failure.name);
      const time = make("time", "", line);
      time.dateTime = new Date(failure.at).toISOString();
      write(make("p", `message${kind}`, element), failure.message);
      const at = failure.panicked_at ? `at ${failure.panicked_at}, called at ${failure.called_at}` : `called at ${failure.called_at}`;
      write(make("span", "location", element), `id ${failure.id}, ${at}`);
      return { element, time };
    }, (row, failure) => {
      write(row.time, `${moment(failure.at, now)}, ${since(now - failure.at)} ago`);
    });
  }

  function functions(all) {
    const called = all.filter((one) => one.accepted || one.refused || one.coalesced);
    const idle = all.filter((one) => !(one.accepted || one.refused || one.coalesced));
    write(byId("functions-count"), grouped.format(all.length));
    show(byId("functions-none"), all.length === 0);
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
        mean: column("mean"),
        longest: column("longest"),
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
      const waited = one.mean_wait_ms >= 1 && one.mean_wait_ms >= one.mean_ms / 10;
      figure(row.mean, one.mean_ms === null ? "–" : took(one.mean_ms), one.mean_ms === null, "", waited ? `${took(one.mean_wait_ms)} waiting` : "");
      figure(row.longest, one.longest_ms === null ? "–" : took(one.longest_ms), one.longest_ms === null);
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

  function schedules(all, now) {
    show(byId("schedules-panel"), all.length > 0);
    write(byId("schedules-count"), grouped.format(all.length));
    each(byId("schedules"), all, (one) => one.name, (one) => {
      const element = make("tr");
      element.setAttribute("role", "row");
      const what = cell(element, "");
      name(what)(one.name);
      if (one.options) write(make("span", "options", what), one.options);
      return { element, next: cell(element, "next"), runs: cell(element, "runs", "number"), missed: cell(element, "missed", "number") };
    }, (row, one) => {
      write(row.next, next(one, now));
      count(row.runs, one.runs);
      count(row.missed, one.missed, "warn");
    });
  }

  function scheduled(all, now) {
    show(byId("scheduled-panel"), all.total > 0);
    write(byId("scheduled-count"), all.total > all.first.length ? `${grouped.format(all.first.length)} of ${grouped.format(all.total)}` : grouped.format(all.total));
    each(byId("scheduled"), all.first.map((one, index) => ({ ...one, index })), (one) => `${one.index}`, () => {
      const element = make("tr");
      element.setAttribute("role", "row");
      return { element, what: cell(element, ""), due: cell(element, "next"), where: cell(element, "") };
    }, (row, one) => {
      write(row.what, one.name);
      write(row.due, one.due_at <= now ? "now" : `in ${since(one.due_at - now + 999)}, at ${moment(one.due_at, now)}`);
      write(row.where, one.called_at);
    });
  }

  function next(one, now) {
    if (one.has_ended) return "ended: no further run";
    if (one.waits_for_state) return "waits for state that the program has not provided";
    if (one.next_at === null) return "after the current run";
    return one.next_at <= now ? "now" : `in ${since(one.next_at - now + 999)}, at ${moment(one.next_at, now)}`;
  }

  function draw(all) {
    const now = all.taken_at;
    write(byId("since"), `counted for ${since(now - all.since)}, since ${moment(all.since, now)}`);
    shutdown(all);
    totals(all.totals);
    timeline(all.timeline);
    tasks(all.tasks);
    failures(all.failures, now);
    functions(all.functions);
    schedules(all.schedules, now);
    scheduled(all.scheduled, now);
    byId("main").classList.remove("is-empty");
  }

  // The stream.

  const MARKS = { connecting: "◌", live: "●", stopping: "▲", lost: "✕" };
  /** Whether the page is served until the drain is over, or by a server that stops when the shutdown is requested. */
  const outlivesDrain = document.documentElement.dataset.outlivesDrain === "true";
  let source = null;
  let again = 0;
  let wait = 1000;
  let last = null;
  let seen = 0;
  /** Since when every connection attempt was refused, and how many there were. */
  let refused = { since: 0, times: 0 };

  function state(kind, text) {
    byId("state").dataset.state = kind;
    write(byId("state-mark"), MARKS[kind]);
    write(byId("state-text"), text);
    byId("main").classList.toggle("is-stale", kind === "lost");
  }

  const isStopping = () => last !== null && last.shutdown.phase !== "running";

  function connect() {
    clearTimeout(again);
    let received = false;
    const own = new EventSource(new URL("events", beside));
    source = own;
    own.addEventListener("snapshot", (event) => {
      received = true;
      wait = 1000;
      refused = { since: 0, times: 0 };
      seen = performance.now();
      last = JSON.parse(event.data);
      const { phase } = last.shutdown;
      state(phase === "running" ? "live" : "stopping", phase === "running" ? "Live" : PHASES[phase] || phase);
      draw(last);
    });
    own.addEventListener("error", async () => {
      own.close();
      // The end of a stream does not show that the process has ended; only refused connections can.
      if (!received) lost(await isServed());
      // The page may have been hidden meanwhile, or may have connected again.
      if (source !== own || document.hidden) return;
      again = setTimeout(connect, wait);
      // During the drain every second counts. Otherwise, retry less and less often.
      wait = isStopping() ? 1000 : Math.min(wait * 1.5, 10000);
    });
  }

  /** Whether any server responds at this address. */
  async function isServed() {
    try {
      await fetch(new URL("icon.svg", beside), { cache: "no-store", signal: AbortSignal.timeout(5000) });
      return true;
    } catch {
      return false;
    }
  }

  function lost(isServed) {
    const now = performance.now();
    if (isServed) refused = { since: 0, times: 0 };
    else refused = { since: refused.times ? refused.since : now, times: refused.times + 1 };
    if (!last) state("lost", "No connection; trying again");
    else if (!isStopping()) state("lost", `No connection since ${clock.format(new Date(last.taken_at))}; trying again`);
    else if (isServed) state("lost", `${PHASES[last.shutdown.phase]}; no further samples`);
    else stopped(now);
  }

  /** The process was stopping, and refuses connections: it has ended, or only its server has. */
  function stopped(now) {
    const isRefusedForAWhile = refused.times >= 4 && now - refused.since >= 3000;
    // The process may drain until its deadline, and then needs a moment to report and exit.
    const left = outlivesDrain || last.shutdown.phase === "over" ? 0 : last.shutdown.left_ms + 2000 - (now - seen);
    if (isRefusedForAWhile && left <= 0) state("lost", "The process has ended");
    else if (left > 0) state("lost", `Its server has stopped; it may drain for another ${since(left)}`);
    else state("lost", `${PHASES[last.shutdown.phase]}; no connection`);
  }

  // A stream without samples is not live.
  setInterval(() => {
    if (document.hidden || byId("state").dataset.state !== "live") return;
    if (performance.now() - seen > 6000) state("lost", `No sample since ${clock.format(new Date(last.taken_at))}`);
  }, 1000);

  // A hidden page needs no samples.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      clearTimeout(again);
      if (source) source.close();
      source = null;
    } else {
      connect();
    }
  });
  connect();
})();
