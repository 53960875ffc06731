//! What becomes of calls, as metrics of the `metrics` facade; docs/metrics.md is what users read of it.
//! Owns the names, and which of them an event changes; knows nothing of when calls begin or end, or of where metrics go.
//!
//! A program sets its recorder when it likes, most often in `main` and so after its manager is there. So no handle is kept: one
//! that was given out before would record nothing for ever. And a gauge is set to what is counted here, rather than moved by
//! one: what began unrecorded would otherwise leave it below zero.

use crate::error::{RefusedReason, TaskError};
use crate::handler::Handler;
use crate::observe::call_info::CallInfo;
use crate::observe::{Coalesced, Ended, Observer, Stage};
use crate::stats::Outcome;
use crate::util::panic::catch_and_ignore;
use crate::util::side_thread::SideThread;
use ::metrics::{Key, KeyName, Label, Level, Metadata, Recorder, SharedString, Unit};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
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

/// How many managers there are in each state: that of `Stage`, one further, and none asked to shut down in the first.
static STATES: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];
const STATE_NAMES: [&str; 4] = ["running", "stopping", "draining", "over"];

/// Writes down what becomes of one manager's calls.
pub(crate) struct Metrics {
    state: AtomicU8,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        // Nor whoever makes one: see `drop`.
        catch_and_ignore(|| move_manager(None, Some(0)));
        Self {
            state: AtomicU8::new(0),
        }
    }
}

impl Drop for Metrics {
    /// With the last of the manager's calls.
    fn drop(&mut self) {
        let state = *self.state.get_mut();
        // Aside: whoever lets go of a manager is not to blame for what a recorder does, and does not wait for one that is stuck.
        // Without a thread for it, the next manager that moves shows it.
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
        let own = of(call.handler);
        // SeqCst, as all that is shown in gauges: see `set`.
        own.live.fetch_add(1, Ordering::SeqCst);
        record(|recorder| {
            count(recorder, &own.started, 1);
            set(recorder, &own.running, &own.live);
        });
    }

    fn waits(&self, call: &CallInfo) {
        let own = of(call.handler);
        own.in_line.fetch_add(1, Ordering::SeqCst);
        record(|recorder| set(recorder, &own.waiting, &own.in_line));
    }

    fn waits_no_more(&self, call: &CallInfo) {
        let own = of(call.handler);
        own.in_line.fetch_sub(1, Ordering::SeqCst);
        record(|recorder| set(recorder, &own.waiting, &own.in_line));
    }

    fn began(&self, call: &CallInfo, waited: Duration) {
        let own = of(call.handler);
        record(|recorder| measure(recorder, &own.wait, waited));
    }

    fn ended(&self, end: &Ended) {
        let own = of(end.call.handler);
        own.live.fetch_sub(1, Ordering::SeqCst);
        record(|recorder| {
            set(recorder, &own.running, &own.live);
            count(recorder, own.finished(end.outcome), 1);
            if let Some(waited) = end.waited {
                let ran = end.age.saturating_sub(waited);
                measure(recorder, own.duration(end.outcome), ran);
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
            // It waited when it was told to end.
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
        // Relaxed: nothing is read on its account. Of two who tell at once, one finds that nothing has changed.
        let before = self.state.fetch_max(state, Ordering::Relaxed);
        if before < state {
            move_manager(Some(before), Some(state));
        }
    }
}

/// What is kept for all functions of one name.
struct Series {
    name: &'static str,
    live: AtomicU64,
    in_line: AtomicU64,
    // Made once, since each call needs them: a key is an allocation and a hash.
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
            in_line: AtomicU64::new(0),
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

    /// Shows the counters at zero before anything is counted: whoever asks for the increase since then would otherwise miss
    /// the first panic, with which its counter appears. And the gauges as they are.
    fn show(&self, recorder: &dyn Recorder) {
        count(recorder, &self.started, 0);
        for outcome in Outcome::ALL {
            count(recorder, self.finished(outcome), 0);
        }
        set(recorder, &self.running, &self.live);
        if self.in_line.load(Ordering::SeqCst) > 0 {
            set(recorder, &self.waiting, &self.in_line);
        }
    }
}

/// All that have been called. By name: two functions that share one share what is shown of it.
fn all_series() -> MutexGuard<'static, BTreeMap<&'static str, Arc<Series>>> {
    static ALL: Mutex<BTreeMap<&str, Arc<Series>>> = Mutex::new(BTreeMap::new());
    // Held for a look-up or a copy, in which nothing panics.
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is kept for a function.
fn of(handler: &'static Handler) -> &'static Series {
    let mut is_new = false;
    let kept = handler.kept_for_metrics(|| {
        let name = handler.name();
        is_new = true;
        let mut all = all_series();
        let series = all
            .entry(name)
            .or_insert_with(|| Arc::new(Series::new(name)));
        Box::new(series.clone())
    });
    let Some(series) = kept.downcast_ref::<Arc<Series>>() else {
        unreachable!("nobody else keeps anything there")
    };
    if is_new {
        // Only now: while it is made, others wait for it. Contained: what the caller has come to count is counted whatever a
        // recorder does.
        catch_and_ignore(|| record(|recorder| series.show(recorder)));
    }
    series
}

/// Does `work` with the recorder that is there now, which is told first of what there is if it is a new one.
fn record(work: impl FnOnce(&dyn Recorder)) {
    /// The address of the last one.
    static KNOWN: AtomicUsize = AtomicUsize::new(0);
    ::metrics::with_recorder(|recorder| {
        let own = std::ptr::from_ref(recorder).cast::<()>().addr();
        // Relaxed: told twice or by two at once, it is the same; a test's recorder that stands where an earlier one stood does
        // without descriptions.
        if KNOWN.load(Ordering::Relaxed) != own {
            KNOWN.store(own, Ordering::Relaxed);
            introduce(recorder);
        }
        work(recorder);
    });
}

#[cold]
fn introduce(recorder: &dyn Recorder) {
    let name = KeyName::from_const_str;
    let text = SharedString::const_str;
    for (own, says) in COUNTERS {
        recorder.describe_counter(name(own), Some(Unit::Count), text(says));
    }
    for (own, says) in GAUGES {
        recorder.describe_gauge(name(own), Some(Unit::Count), text(says));
    }
    for (own, says) in HISTOGRAMS {
        recorder.describe_histogram(name(own), Some(Unit::Seconds), text(says));
    }
    for state in 0..STATES.len() {
        set_state(recorder, state);
    }
    // A copy, so that no lock is held while a recorder works.
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

/// For what happens so seldom that no key is kept for it.
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

/// Sets a gauge to what is counted.
///
/// Two who do so at once may do it in the wrong order. So each looks again afterwards, and whoever sets it last finds the
/// count as it has set it, or sets it once more: when nothing changes any more, it shows what is. SeqCst, so that this holds
/// for whatever a recorder does to set it.
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
