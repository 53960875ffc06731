//! Whole calls: writers that change threads, handles, runners, tokens, and the shutdown sequence.

use super::model::{
    ASYNC, BLOCKING, CallState, Model, NEVER, call, holds, noted, tracker, tracker_with_grace,
};
use crate::call::handle::RawHandle;
use crate::call::runner::SlotRunner;
use crate::call::supervise::Supervised;
use crate::handler::{Handler, Kind};
use crate::report::{ShutdownReason, ShutdownReport};
use crate::shutdown::essential;
use crate::stats::Outcome;
use crate::tracker::task_ref::TaskRef;
use crate::tracker::{ShardWriter, Tracker};
use crate::{ShutdownToken, TaskHandle, shutdown};
use shuttle::future::{self, block_on};
use shuttle::thread::{self, JoinHandle};
use std::collections::HashSet;
// The standard library's, so that a note is no step of the model.
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(super) const MODELS: &[Model] = &[
    Model {
        name: "writers",
        invariant: "no slot holds two calls at once, and no count is lost, whichever thread takes over a shard",
        run: writers,
        mistakes: &["writer_shared"],
        preemptions: None,
    },
    Model {
        name: "woken_by_cancel",
        invariant: "a task that is woken by its cancellation finds its token fired",
        run: woken_by_cancel,
        mistakes: &["cancelled_before_noted"],
        preemptions: None,
    },
    Model {
        name: "woken_by_drain",
        invariant: "a task that is woken by the drain finds every token fired, including tokens created later",
        run: woken_by_drain,
        mistakes: &["fired_before_phase"],
        preemptions: None,
    },
    Model {
        name: "handles",
        invariant: "however a handle is used, its call ends once, its output is handled once, and its slot is freed",
        run: handles,
        mistakes: &["done_though_detached", "end_not_checked_again"],
        preemptions: None,
    },
    Model {
        name: "shutdown",
        invariant: "every call is drained or refused, the report counts all of them, and nothing begins or remains after it",
        run: whole_shutdown,
        mistakes: &[
            "gate_before_count",
            "gate_before_end",
            "runners_not_dismissed",
        ],
        preemptions: None,
    },
    Model {
        name: "essential_beside_main",
        invariant: "an essential task that ends because `main` has returned does not cause the shutdown; one that ends before the last poll of `main` does",
        run: essential_beside_main,
        mistakes: &["essential_judged_at_once"],
        preemptions: None,
    },
    Model {
        name: "deadline",
        invariant: "each call that the deadline cuts off is named once, and the drain ends with the last of them",
        run: deadline,
        mistakes: &["expired_before_late"],
        preemptions: None,
    },
];

fn joined<T>(thread: JoinHandle<T>) -> T {
    thread.join().expect("a panic ends the model")
}

/// The future handed to the runtime.
enum OnRuntime {
    /// Nothing, because the slot has a runner.
    Nothing,
    SlotRunner(future::JoinHandle<()>),
    Thread(JoinHandle<()>),
}

impl OnRuntime {
    fn has_ended(self) {
        match self {
            Self::Nothing => {}
            Self::SlotRunner(runner) => block_on(runner).expect("no runner is aborted"),
            Self::Thread(thread) => joined(thread),
        }
    }
}

/// Makes a call, with its handle and what was handed to the runtime. Returns `None` if the call was refused.
fn called(
    writer: &mut ShardWriter,
    handler: &'static Handler,
    fate: &Arc<CallState>,
    polls: u32,
) -> Option<(TaskRef, TaskHandle<()>, OnRuntime)> {
    let (id, task_ref, has_runner) = call(writer, handler, noted(fate, polls))?;
    let handle = TaskHandle::new(RawHandle::accepted(id, handler, task_ref.clone()));
    let run = task_ref.clone();
    let on_runtime = if has_runner {
        OnRuntime::Nothing
    } else if task_ref.is_async {
        OnRuntime::SlotRunner(future::spawn(SlotRunner::new(run)))
    } else {
        OnRuntime::Thread(thread::spawn(move || Supervised::to_be_started(run).run()))
    };
    Some((task_ref, handle, on_runtime))
}

/// Requests the shutdown, as if `main` had ended, and awaits its report.
fn shut_down(tracker: &Arc<Tracker>) -> ShutdownReport {
    shutdown::request::main_ended(tracker, ShutdownReason::MainReturned);
    block_on(tracker.shared.shutdown.over.cancelled());
    tracker
        .shared
        .shutdown
        .report()
        .expect("the shutdown is over")
        .clone()
}

fn writers() {
    let tracker = tracker();
    let live = Arc::new(Mutex::new(HashSet::new()));
    let threads = [(); 3].map(|()| {
        let (tracker, live) = (tracker.clone(), live.clone());
        thread::spawn(move || {
            for _ in 0..2 {
                let mut writer = tracker.writer();
                let (_, task_ref, _) =
                    call(&mut writer, &ASYNC, noted(&Arc::default(), 0)).expect("the gate is open");
                let slot = task_ref.slot_of_shard();
                holds!(live.lock().unwrap().insert(slot), "two calls have one slot");
                drop(writer);
                live.lock().unwrap().remove(&slot);
                task_ref.end(Outcome::Succeeded);
            }
        })
    });
    threads.into_iter().for_each(joined);
    let totals = tracker.totals();
    holds!(
        totals.accepted == 6 && totals.succeeded == 6 && totals.running == 0,
        "{totals:?}"
    );
}

fn woken_by_cancel() {
    let tracker = tracker();
    let mut writer = tracker.writer();
    let (task_ref, handle, _runner) =
        called(&mut writer, &ASYNC, &Arc::default(), NEVER).expect("the gate is open");
    let token = ShutdownToken::for_task(task_ref.clone()).cancelled_owned();
    let woken = thread::spawn(move || {
        block_on(token);
        // A token that has not been used before.
        ShutdownToken::for_task(task_ref).is_cancelled()
    });
    handle.cancel();
    holds!(joined(woken), "the token has not fired");
}

fn woken_by_drain() {
    let tracker = tracker();
    let mut writer = tracker.writer();
    let (task_ref, handle, runner) =
        called(&mut writer, &ASYNC, &Arc::default(), NEVER).expect("the gate is open");
    let token = ShutdownToken::for_task(task_ref.clone()).cancelled_owned();
    let woken = thread::spawn(move || {
        block_on(token);
        let has_fired = ShutdownToken::for_task(task_ref).is_cancelled();
        // So that the drain ends.
        handle.abort();
        has_fired
    });
    shut_down(&tracker);
    holds!(joined(woken), "the token has not fired");
    runner.has_ended();
}

fn handles() {
    let tracker = tracker();
    let fates = [(); 4].map(|()| Arc::new(CallState::default()));
    let mut writer = tracker.writer();
    let mut called =
        |index: usize, handler, polls| called(&mut writer, handler, &fates[index], polls).unwrap();
    let (_, awaited, first) = called(0, &ASYNC, 1);
    let (_, aborted, second) = called(1, &ASYNC, NEVER);
    let (_, dropped, third) = called(2, &BLOCKING, 0);
    let (_, either, fourth) = called(3, &BLOCKING, 0);
    let waits = thread::spawn(move || block_on(awaited));
    let aborts = thread::spawn(move || {
        aborted.abort();
        block_on(aborted)
    });
    let meets = thread::spawn(move || {
        drop(dropped);
        either.abort();
        block_on(either)
    });
    holds!(joined(waits) == Ok(()), "an output was lost");
    let outcome = joined(aborts);
    holds!(outcome == Err(crate::TaskError::Aborted), "{outcome:?}");
    let either_way = joined(meets);
    holds!(
        matches!(either_way, Ok(()) | Err(crate::TaskError::Aborted)),
        "{either_way:?}"
    );
    [third, fourth].into_iter().for_each(OnRuntime::has_ended);
    let totals = tracker.totals();
    holds!(
        totals.running == 0 && totals.succeeded + totals.aborted == 4,
        "{totals:?}"
    );
    for fate in &fates {
        holds!(fate.dropped() + fate.taken() == 1, "{fate:?}");
    }
    // All slots are reused, and none is added.
    let next = [(); 5].map(|()| {
        let (_, task_ref, _) =
            call(&mut writer, &BLOCKING, noted(&Arc::default(), 0)).expect("the gate is open");
        task_ref.slot_of_shard().1
    });
    let slots: HashSet<u32> = next.into_iter().collect();
    holds!(slots == (0..5).collect(), "slots are missing: {next:?}");
    shut_down_rest(&tracker);
    [first, second].into_iter().for_each(OnRuntime::has_ended);
}

/// Ends the runners, whatever calls are live.
fn shut_down_rest(tracker: &Arc<Tracker>) {
    tracker.close();
    tracker.dismiss_runners();
}

fn whole_shutdown() {
    let tracker = tracker();
    let is_over = Arc::new(AtomicBool::new(false));
    let callers = [&ASYNC, &BLOCKING].map(|handler| {
        let (tracker, is_over) = (tracker.clone(), is_over.clone());
        thread::spawn(move || {
            let mut accepted = 0;
            let mut writer = tracker.writer();
            for number in 0..2 {
                let fate = Arc::new(CallState::default());
                // A blocking function never waits.
                let polls = if handler.runs_as() == Kind::Async {
                    number
                } else {
                    0
                };
                let Some((_, handle, on_runtime)) = called(&mut writer, handler, &fate, polls)
                else {
                    holds!(fate.begun() == 0, "a refused call has begun");
                    continue;
                };
                holds!(
                    !is_over.load(Ordering::Relaxed),
                    "a call was accepted after the report"
                );
                accepted += 1;
                if number == 0 {
                    drop(handle);
                } else {
                    holds!(block_on(handle) == Ok(()), "an output was lost");
                }
                on_runtime_later(on_runtime);
            }
            accepted
        })
    });
    let second = {
        let tracker = tracker.clone();
        thread::spawn(move || shut_down(&tracker))
    };
    let report = shut_down(&tracker);
    is_over.store(true, Ordering::Relaxed);
    let totals = report.totals;
    holds!(
        totals.running == 0 && totals.accepted == totals.succeeded && report.is_clean(),
        "{report:?}"
    );
    holds!(joined(second).totals == totals, "there are two reports");
    let accepted: u64 = callers.into_iter().map(joined).sum();
    holds!(
        accepted == totals.accepted,
        "{accepted} calls were accepted: {totals:?}"
    );
}

/// Awaits the end of the runner on another thread: it comes after the shutdown, and shuttle requires everything spawned to end.
fn on_runtime_later(on_runtime: OnRuntime) {
    thread::spawn(move || on_runtime.has_ended());
}

fn essential_beside_main() {
    // In its last poll `main` drops what the task depends on, so the task ends at any moment from then on.
    let follows = reason_beside_main(|main, task| {
        main.begin_poll();
        let task = thread::spawn(task);
        main.main_ended();
        task
    });
    holds!(follows == ShutdownReason::MainReturned, "{follows}");
    // The task ends during or after the first poll of `main`, and before the last one.
    let early = reason_beside_main(|main, task| {
        let task = thread::spawn(task);
        main.begin_poll();
        main.end_poll();
        joined(task);
        main.begin_poll();
        main.main_ended();
        thread::spawn(|| ())
    });
    let is_early = matches!(early, ShutdownReason::EssentialEnded(_));
    holds!(is_early, "{early}");
}

/// The steps of the thread that polls `main`.
struct Main(Arc<Tracker>);

impl Main {
    fn begin_poll(&self) {
        self.0.shared.main_polls.begin_poll();
    }

    fn end_poll(&self) {
        essential::poll_ended(&self.0);
    }

    fn main_ended(&self) {
        self.0.shared.main_polls.main_ended();
    }
}

/// Returns the reason of the shutdown that follows `run`, which ends an essential task on a thread.
fn reason_beside_main(
    run: impl FnOnce(&Main, Box<dyn FnOnce() + Send>) -> JoinHandle<()>,
) -> ShutdownReason {
    let tracker = tracker();
    let ended = tracker.clone();
    let task = run(
        &Main(tracker.clone()),
        Box::new(move || essential::ended(&ended, &ASYNC)),
    );
    let report = shut_down(&tracker);
    joined(task);
    report.reason
}

fn deadline() {
    let tracker = tracker_with_grace(Duration::ZERO);
    let mut writer = tracker.writer();
    let fates = [(); 3].map(|()| Arc::new(CallState::default()));
    // One that is polled again and again, one that waits forever, and one on a thread.
    let calls = [(&ASYNC, 20), (&ASYNC, NEVER), (&BLOCKING, 0)];
    let on_runtime: Vec<_> = calls
        .into_iter()
        .zip(&fates)
        .map(|((handler, polls), fate)| {
            let called = called(&mut writer, handler, fate, polls);
            called.expect("the gate is open").2
        })
        .collect();
    let report = shut_down(&tracker);
    let totals = report.totals;
    holds!(
        totals.running == 0 && totals.accepted == 3 && totals.ended() == 3,
        "{report:?}"
    );
    let cut_off = totals.aborted + totals.abandoned;
    let named = report
        .stragglers
        .iter()
        .filter(|straggler| matches!(straggler.outcome, Outcome::Aborted | Outcome::Abandoned));
    let named: Vec<_> = named.map(|straggler| straggler.id).collect();
    let once: HashSet<_> = named.iter().collect();
    holds!(
        named.len() as u64 == cut_off && once.len() == named.len(),
        "{report:?}"
    );
    on_runtime.into_iter().for_each(OnRuntime::has_ended);
    for fate in &fates {
        holds!(fate.dropped() == 1 && fate.taken() == 0, "{fate:?}");
    }
}
