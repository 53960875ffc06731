// The page of one function: asks for its details once per second. All data is inserted as text, never as markup.

import { byId, cell, each, make, show, state, write } from "./elements.js";
import { amount, duration, ended, filled, schedules, tasks, tiles, tone, totals } from "./lists.js";
import { PHASES, clock, grouped, moment, plural, since } from "./words.js";

/** The pause between two requests: fixed here, so that no address can change how often the server is asked. */
const PAUSE = 1000;
const details = new URL(`function.json?name=${encodeURIComponent(document.body.dataset.function)}`, import.meta.url);

const TOTALS = totals(["stopped", "Stopped"], ["retries", "Retries"]);

function times({ took, waited }) {
  const rows = [["Call to end", took], ["Call to first instruction", waited]].filter(([, times]) => times);
  filled("times", rows.length > 0);
  each(byId("times"), rows, ([label]) => label, ([label]) => {
    const element = make("tr");
    element.setAttribute("role", "row");
    write(cell(element, ""), label);
    const cells = ["mean", "p50", "p90", "p99", "max"].map((field) => [field, cell(element, field, "number")]);
    return { element, cells };
  }, (row, [, times]) => {
    for (const [field, td] of row.cells) duration(td, times[`${field}_ms`]);
  });
}

function policies(options, live) {
  show(byId("policies-none"), options.length === 0);
  each(byId("policies"), options, (option) => option, (option) => {
    const element = make("li");
    write(element, option);
    return { element };
  }, () => {});
  const states = live ? ["queued", "waiting", "running", "backing off"].map((state) => [live[state.replace(" ", "_")], state]) : [];
  write(byId("policies-live"), states.filter(([count]) => count).map(([count, state]) => `${grouped.format(count)} ${state}`).join(", "));
}

function groups(all, others, now) {
  write(byId("groups-count"), others ? `${plural(others, "failure", "failures")} of earlier messages` : "");
  show(byId("groups-none"), all.length === 0);
  each(byId("groups"), all, (group) => `${group.outcome} ${group.message}`, (group) => {
    const element = make("li");
    const line = make("div", "line", element);
    const times = make("b", "times-of", line);
    const kind = tone(group.outcome);
    write(make("span", `tag ${kind}`, line), group.outcome);
    const when = make("span", "when", line);
    write(make("p", `message ${kind}`, element), group.message);
    return { element, times, when, last: make("span", "location", element) };
  }, (row, group) => {
    write(row.times, `${grouped.format(group.count)} ×`);
    write(row.when, `last ${since(now - group.last_at)} ago, first ${moment(group.first_at, now)}`);
    const at = group.panicked_at ? `, at ${group.panicked_at}` : "";
    const text = group.last_message === group.message ? "" : `: ${group.last_message}`;
    write(row.last, `last: id ${group.last_id}${at}${text}`);
  });
}

function draw(all) {
  const { function: own, taken_at: now } = all;
  write(byId("since"), `counted for ${since(now - all.since)}, since ${moment(all.since, now)}`);
  const traits = [own.kind === "blocking" ? "blocking" : "async", own.takes_token ? "takes a token" : ""];
  write(byId("location"), [own.location, ...traits.filter(Boolean)].join(", "));
  const waiting = own.live ? own.live.waiting + own.live.backing_off : 0;
  tiles(TOTALS, { ...own, waiting, stopped: own.cancelled + own.aborted });
  times({ took: own.took && { ...own.took, mean_ms: own.mean_ms }, waited: own.waited && { ...own.waited, mean_ms: own.mean_wait_ms } });
  policies(all.options, own.live);
  groups(all.groups, all.other_failures, now);
  show(byId("schedules-panel"), all.schedules.length > 0);
  schedules(all.schedules, now);
  const { total, oldest } = all.tasks;
  write(byId("tasks-count"), amount(oldest.length, oldest.length, total, "the oldest "));
  filled("tasks", total > 0);
  tasks(oldest);
  write(byId("ended-count"), grouped.format(all.ended.length));
  filled("ended", all.ended.length > 0);
  ended(all.ended, now);
  byId("main").classList.remove("is-empty");
}

let timer = 0;
let last = null;

async function ask() {
  const begin = performance.now();
  try {
    const response = await fetch(details, { cache: "no-store", signal: AbortSignal.timeout(10000) });
    if (!response.ok) throw new Error(String(response.status));
    const all = await response.json();
    last = all.taken_at;
    const { phase } = all.shutdown;
    if (phase === "running") state("live", "Live");
    else state("stopping", PHASES[phase] || phase);
    draw(all);
  } catch (error) {
    if (error instanceof TypeError || error instanceof DOMException || /^\d+$/.test(error.message)) {
      state("lost", last === null ? "No answer; trying again" : `No answer since ${clock.format(new Date(last))}; trying again`);
    } else {
      throw error;
    }
  } finally {
    // A slow server is asked less often.
    schedule(Math.max(PAUSE, (performance.now() - begin) * 10));
  }
}

function schedule(pause) {
  clearTimeout(timer);
  // A hidden page asks for nothing.
  if (!document.hidden) timer = setTimeout(ask, pause);
}

document.addEventListener("visibilitychange", () => schedule(document.hidden ? PAUSE : 0));
ask();
