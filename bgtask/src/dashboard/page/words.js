// Words and figures: how counts, durations and points in time are written.

export const grouped = new Intl.NumberFormat("en");
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
export const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const dated = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const two = (number) => String(number).padStart(2, "0");

/** How long something has been running, as precisely as a reader can follow. */
export function age(ms) {
  const s = Math.floor(ms / 1000);
  if (s < 10) return `${(ms / 1000).toFixed(1)} s`;
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} m ${two(s % 60)} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${two(Math.floor(s / 60) % 60)} m`;
  return `${Math.floor(s / 86400)} d ${two(Math.floor(s / 3600) % 24)} h`;
}

/** The same in whole seconds, for times in the past or future. */
export const since = (ms) => age(Math.max(0, ms)).replace(/\.\d/, "");

/** How long something took. */
export function took(ms) {
  if (ms < 1) return `${Math.round(ms * 1000)} µs`;
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60000) return `${(ms / 1000).toFixed(1)} s`;
  return age(ms);
}

/** A point in time, with the day if it is not near. */
export function moment(at, now) {
  return (Math.abs(at - now) < 72000000 ? clock : dated).format(new Date(at));
}

export const plural = (count, one, many) => `${grouped.format(count)} ${count === 1 ? one : many}`;

/** The phases of a shutdown. */
export const PHASES = {
  running: "Running",
  stopping: "Stopping",
  draining: "Draining",
  expired: "Deadline passed",
  over: "Shut down",
};

/** A count in little room. */
export function short(count) {
  return count < 10000000 ? grouped.format(count) : compact.format(count);
}

/** The state of a live call, with its attempt and its job. */
export function doing(task) {
  const parts = [];
  if (task.attempt > 1 || task.next_attempt_ms !== null) {
    const of = task.max_attempts === null ? "" : ` of ${task.max_attempts}`;
    parts.push(`attempt ${task.attempt}${of}`);
  }
  if (task.next_attempt_ms !== null) parts.push(task.next_attempt_ms < 100 ? "next now" : `next in ${age(task.next_attempt_ms)}`);
  // Only a task of a durable function has a job.
  if (task.job) parts.push(`job ${task.job.id} of ${task.job.queue}`);
  return parts.join(", ");
}
