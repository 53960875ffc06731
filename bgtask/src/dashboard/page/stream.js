// The stream of samples, and what the page says about its connection.

import { byId, state } from "./elements.js";
import { PHASES, clock, since } from "./words.js";

const beside = new URL(".", import.meta.url);

/** Whether the page is served until the drain is over, or by a server that stops when the shutdown is requested. */
const outlivesDrain = document.documentElement.dataset.outlivesDrain === "true";
let source = null;
let again = 0;
let wait = 1000;
let last = null;
let seen = 0;
/** Since when every connection attempt was refused, and how many there were. */
let refused = { since: 0, times: 0 };

let draw = () => {};

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
/** Draws each sample from now on. */
export function follow(drawSample) {
  draw = drawSample;
  connect();
}
