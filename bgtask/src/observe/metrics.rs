//! Calls as metrics of the `metrics` facade; docs/metrics.md documents them for users.
//! Owns the metrics' names, and which of them an event changes; must never know where metrics go.

use crate::error::{RefusedReason, TaskError};
use crate::handler::Handler;
use crate::observe::call_info::CallInfo;
use crate::observe::{Coalesced, Ended, Observer, Stage};
use crate::stats::Outcome;
use crate::util::panic::catch_and_ignore;
use crate::util::side_thread::SideThread;
use crate::util::sync::unmodelled::{Mutex, MutexGuard};
use ::metrics::{Key, KeyName, Label, Level, Metadata, Recorder, SharedString, Unit};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

const STARTED: &str = "bgtask_tasks_started_total";
const FINISHED: &str = "bgtask_tasks_finished_total";
const RUNNING: &str = "bgtask_tasks_running";
const WAITING: &str = "bgtask_tasks_waiting";
const WAIT: &str = "bgtask_task_wait_seconds";
const DURATION: &str = "bgtask_task_duration_seconds";
const RETRIES: &str = "bgtask_task_retries_total";
const DROPPED: &str = "bgtask_tasks_dropped_total";
const REFUSED: &str = "bgtask_calls_refused_total";
const COALESCED: &str = "bgtask_calls_coalesced_total";
const MISSED: &str = "bgtask_schedule_missed_total";
const RESTARTS: &str = "bgtask_schedule_restarts_total";
const MANAGERS: &str = "bgtask_managers";

const COUNTERS: &[(&str, &str)] = &[
    (STARTED, "Accepted calls."),
    (FINISHED, "Calls that have ended, by outcome."),
    (RETRIES, "Attempts beyond the first of each call."),
    (DROPPED, "Accepted calls that a policy ended, by reason."),
    (REFUSED, "Refused calls, by reason."),
    (COALESCED, "Calls that joined another run or were skipped."),
    (MISSED, "Ticks of a schedule without a run of their own."),
    (RESTARTS, "Restarts of a function by `restart`."),
];

const GAUGES: &[(&str, &str)] = &[
    (RUNNING, "Accepted calls that have not ended."),
    (
        WAITING,
        "Accepted calls that wait for an earlier run, their rate limit or a permit.",
    ),
    (MANAGERS, "Managers, by phase of their shutdown."),
];

const HISTOGRAMS: &[(&str, &str)] = &[
    (WAIT, "Time from the call to its first instruction."),
    (
        DURATION,
        "Time from the first instruction to the end, including all attempts and the pauses between them.",
    ),
];

static METADATA: Metadata<'static> = Metadata::new("bgtask", Level::INFO, None);

/// The number of managers in each state. State 0 has no shutdown; the others are one more than their `Stage`.
static STATES: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];
const STATE_NAMES: [&str; 4] = ["running", "stopping", "draining", "over"];

/// The observer that records one manager's calls.
///
/// A program usually sets its recorder in `main`, after the manager exists, so this keeps no handles: a handle from before would
/// record nothing forever. For the same reason it sets gauges to its own counts instead of incrementing them: a call whose
/// start was not recorded would leave a gauge below zero.
pub(crate) struct Metrics {
    state: AtomicU8,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        // A panic of the recorder must not reach the code that installs a manager.
        catch_and_ignore(|| move_manager(None, Some(0)));
        Self {
            state: AtomicU8::new(0),
        }
    }
}

impl Drop for Metrics {
    /// Runs when the last of the manager's calls is gone.
    fn drop(&mut self) {
        let state = *self.state.get_mut();
        // On another thread: code that drops a manager must neither see a recorder's panic nor wait for one that is stuck. If no
        // thread can be spawned, the next manager that changes its state records this too.
        count_manager(Some(state), None);
        SideThread::new().run(move || show_manager(Some(state), None));
    }
}

fn move_manager(from: Option<u8>, to: Option<u8>) {
    count_manager(from, to);
    show_manager(from, to);
}

fn count_manager(from: Option<u8>, to: Option<u8>) {
    if let Some(to) = to {
        STATES[usize::from(to)].fetch_add(1, Ordering::SeqCst);
    }
    if let Some(from) = from {
        STATES[usize::from(from)].fetch_sub(1, Ordering::SeqCst);
    }
}

fn show_manager(from: Option<u8>, to: Option<u8>) {
    record(|recorder| {
        for state in [from, to].into_iter().flatten() {
            set_state(recorder, usize::from(state));
        }
    });
}

fn set_state(recorder: &dyn Recorder, state: usize) {
    let key = Key::from_parts(
        MANAGERS,
        vec![Label::from_static_parts("state", STATE_NAMES[state])],
    );
    set(recorder, &key, &STATES[state]);
}

impl Observer for Metrics {
    fn name(&self) -> &'static str {
        "metrics"
    }

    fn accepted(&self, call: &CallInfo) {
        let series = series(call.handler);
        // SeqCst, as for every count that a gauge shows: see `set`.
        series.live.fetch_add(1, Ordering::SeqCst);
        record(|recorder| {
            count(recorder, &series.started, 1);
            set(recorder, &series.running, &series.live);
        });
    }

    fn starts_waiting(&self, call: &CallInfo) {
        let series = series(call.handler);
        series.waiting_calls.fetch_add(1, Ordering::SeqCst);
        record(|recorder| set(recorder, &series.waiting, &series.waiting_calls));
    }

    fn stops_waiting(&self, call: &CallInfo) {
        let series = series(call.handler);
        series.waiting_calls.fetch_sub(1, Ordering::SeqCst);
        record(|recorder| set(recorder, &series.waiting, &series.waiting_calls));
    }

    fn began(&self, call: &CallInfo, waited: Duration) {
        let series = series(call.handler);
        record(|recorder| measure(recorder, &series.wait, waited));
    }

    fn ended(&self, end: &Ended) {
        let series = series(end.call.handler);
        series.live.fetch_sub(1, Ordering::SeqCst);
        record(|recorder| {
            set(recorder, &series.running, &series.live);
            count(recorder, series.finished(end.outcome), 1);
            if let Some(waited) = end.waited {
                let ran = end.age.saturating_sub(waited);
                measure(recorder, series.duration(end.outcome), ran);
            }
        });
    }

    fn refused(&self, handler: &'static Handler, reason: RefusedReason) {
        count_by(REFUSED, handler, ("reason", reason_of(reason)), 1);
    }

    fn coalesced(&self, handler: &'static Handler, how: Coalesced) {
        count_by(COALESCED, handler, ("how", how.as_str()), 1);
    }

    fn dropped(&self, call: &CallInfo, why: &TaskError) {
        let reason = match why {
            TaskError::Refused(reason) => reason_of(*reason),
            TaskError::Replaced => "replaced",
            // It was cancelled while it waited.
            _ => "cancelled",
        };
        count_by(DROPPED, call.handler, ("reason", reason), 1);
    }

    fn retried(&self, call: &CallInfo) {
        record(|recorder| count(recorder, &key(RETRIES, call.handler.name()), 1));
    }

    fn missed(&self, handler: &'static Handler, ticks: u64) {
        record(|recorder| count(recorder, &key(MISSED, handler.name()), ticks));
    }

    fn restarted(&self, handler: &'static Handler) {
        record(|recorder| count(recorder, &key(RESTARTS, handler.name()), 1));
    }

    fn shutdown(&self, stage: Stage) {
        let state = 1 + stage as u8;
        // Relaxed: nothing else depends on it. Of two concurrent notifications, one finds the state unchanged.
        let before = self.state.fetch_max(state, Ordering::Relaxed);
        if before < state {
            move_manager(Some(before), Some(state));
        }
    }
}

/// The counts and keys of all functions with one name.
struct Series {
    name: &'static str,
    live: AtomicU64,
    waiting_calls: AtomicU64,
    // Created once, because every call needs them: a key is an allocation and a hash.
    started: Key,
    running: Key,
    waiting: Key,
    wait: Key,
    finished: [OnceLock<Key>; Outcome::ALL.len()],
    duration: [OnceLock<Key>; Outcome::ALL.len()],
}

impl Series {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            live: AtomicU64::new(0),
            waiting_calls: AtomicU64::new(0),
            started: key(STARTED, name),
            running: key(RUNNING, name),
            waiting: key(WAITING, name),
            wait: key(WAIT, name),
            finished: Default::default(),
            duration: Default::default(),
        }
    }

    fn finished(&self, outcome: Outcome) -> &Key {
        let label = ("outcome", label_of(outcome));
        self.finished[outcome as usize].get_or_init(|| key_by(FINISHED, self.name, label))
    }

    fn duration(&self, outcome: Outcome) -> &Key {
        let label = ("outcome", label_of(outcome));
        self.duration[outcome as usize].get_or_init(|| key_by(DURATION, self.name, label))
    }

    /// Records the counters at zero before anything is counted, and the gauges as they are. Otherwise a query for an increase
    /// would miss the first panic, because its counter would start at 1.
    fn show(&self, recorder: &dyn Recorder) {
        count(recorder, &self.started, 0);
        for outcome in Outcome::ALL {
            count(recorder, self.finished(outcome), 0);
        }
        set(recorder, &self.running, &self.live);
        if self.waiting_calls.load(Ordering::SeqCst) > 0 {
            set(recorder, &self.waiting, &self.waiting_calls);
        }
    }
}

/// Locks the series of all functions that have been called. Functions that share a name share a series.
fn all_series() -> MutexGuard<'static, BTreeMap<&'static str, Arc<Series>>> {
    // Held for a look-up or a copy.
    static ALL: Mutex<BTreeMap<&str, Arc<Series>>> = Mutex::new(BTreeMap::new());
    ALL.lock()
}

fn series(handler: &'static Handler) -> &'static Series {
    let mut is_new = false;
    let kept = handler.for_metrics(|| {
        let name = handler.name();
        is_new = true;
        let mut all = all_series();
        let series = all
            .entry(name)
            .or_insert_with(|| Arc::new(Series::new(name)));
        Box::new(series.clone())
    });
    let Some(series) = kept.downcast_ref::<Arc<Series>>() else {
        unreachable!("a handler keeps only a series for metrics")
    };
    if is_new {
        // Not inside the closure, where other threads wait. Panics are ignored, so that the caller still counts.
        catch_and_ignore(|| record(|recorder| series.show(recorder)));
    }
    series
}

/// Runs `work` with the current recorder. A new recorder first receives the descriptions and the current values.
fn record(work: impl FnOnce(&dyn Recorder)) {
    /// The address of the last recorder.
    static KNOWN: AtomicUsize = AtomicUsize::new(0);
    ::metrics::with_recorder(|recorder| {
        let address = std::ptr::from_ref(recorder).cast::<()>().addr();
        // Relaxed: describing twice changes nothing. A test's recorder at the address of an earlier one gets no descriptions.
        if KNOWN.load(Ordering::Relaxed) != address {
            KNOWN.store(address, Ordering::Relaxed);
            introduce(recorder);
        }
        work(recorder);
    });
}

#[cold]
fn introduce(recorder: &dyn Recorder) {
    let name = KeyName::from_const_str;
    let text = SharedString::const_str;
    for (metric, description) in COUNTERS {
        recorder.describe_counter(name(metric), Some(Unit::Count), text(description));
    }
    for (metric, description) in GAUGES {
        recorder.describe_gauge(name(metric), Some(Unit::Count), text(description));
    }
    for (metric, description) in HISTOGRAMS {
        recorder.describe_histogram(name(metric), Some(Unit::Seconds), text(description));
    }
    for state in 0..STATES.len() {
        set_state(recorder, state);
    }
    // A copy, so that no lock is held while the recorder runs.
    let all: Vec<_> = all_series().values().cloned().collect();
    for series in all {
        series.show(recorder);
    }
}

fn key(metric: &'static str, name: &'static str) -> Key {
    Key::from_parts(metric, vec![Label::from_static_parts("name", name)])
}

fn key_by(
    metric: &'static str,
    name: &'static str,
    (label, value): (&'static str, &'static str),
) -> Key {
    let labels = vec![
        Label::from_static_parts("name", name),
        Label::from_static_parts(label, value),
    ];
    Key::from_parts(metric, labels)
}

fn count(recorder: &dyn Recorder, key: &Key, more: u64) {
    recorder.register_counter(key, &METADATA).increment(more);
}

/// Counts a rare event, for which no key is kept.
fn count_by(
    metric: &'static str,
    handler: &'static Handler,
    label: (&'static str, &'static str),
    more: u64,
) {
    record(|recorder| count(recorder, &key_by(metric, handler.name(), label), more));
}

fn measure(recorder: &dyn Recorder, key: &Key, time: Duration) {
    recorder.register_histogram(key, &METADATA).record(time);
}

/// Sets a gauge to a count.
///
/// Two threads may set it in the wrong order, so each re-reads the count afterwards and sets the gauge again if it has changed:
/// the last thread to set it leaves the current count. SeqCst, so that this holds whatever the recorder does to set it.
fn set(recorder: &dyn Recorder, key: &Key, counted: &AtomicU64) {
    let gauge = recorder.register_gauge(key, &METADATA);
    let mut now = counted.load(Ordering::SeqCst);
    loop {
        gauge.set(now as f64);
        let then = counted.load(Ordering::SeqCst);
        if then == now {
            return;
        }
        now = then;
    }
}

fn label_of(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "succeeded",
        Outcome::Failed => "failed",
        Outcome::Panicked => "panicked",
        Outcome::TimedOut => "timed_out",
        Outcome::Cancelled => "cancelled",
        Outcome::Aborted => "aborted",
        Outcome::Abandoned => "abandoned",
    }
}

fn reason_of(reason: RefusedReason) -> &'static str {
    match reason {
        RefusedReason::ShutDown => "shut_down",
        RefusedReason::GroupClosed => "group_closed",
        RefusedReason::QueueFull => "queue_full",
        RefusedReason::DroppedFromQueue => "dropped_from_queue",
        RefusedReason::RateExceeded => "rate_exceeded",
        // The type is in the log.
        RefusedReason::MissingState(_) => "missing_state",
    }
}
