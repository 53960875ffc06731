//! The gate, the counters and the drain: a call is drained or refused, the drain notices the last end, sums add up.

use super::model::{ASYNC, Model, holds, tracker};
use super::{join, spawn};
use crate::report::ShutdownReason;
use crate::stats::Outcome;
use crate::tracker::Tracker;
use crate::tracker::counters::{Counters, NONE};
use crate::tracker::shutdown_state::Phase;
use crate::tracker::task_ref::TaskRef;
use crate::util::sync::atomic::AtomicU32;
use std::sync::Arc;
// The standard library's, so that a note is no step of the model.
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub(super) const MODELS: &[Model] = &[
    Model {
        name: "call_beside_close",
        invariant: "the drain sees every call that the gate admits: the gate does not close before that call has ended",
        run: call_beside_close,
        mistakes: &["gate_before_count", "counts_before_closing"],
        preemptions: Some(3),
    },
    Model {
        name: "call_finish_shutdown",
        invariant: "the drain notices the last end and closes the gate, whatever calls start and end concurrently",
        run: call_finish_shutdown,
        mistakes: &["gate_before_end"],
        preemptions: Some(2),
    },
    Model {
        name: "two_shutdowns",
        invariant: "exactly one of two concurrent requests starts the shutdown, and a late call is refused",
        run: two_shutdowns,
        mistakes: &["requested_twice"],
        preemptions: Some(3),
    },
    Model {
        name: "tick_beside_request",
        invariant: "once the request for a shutdown has returned, no schedule starts a run",
        run: tick_beside_request,
        mistakes: &["tick_not_counted"],
        preemptions: None,
    },
    Model {
        name: "closed_for_good",
        invariant: "a closed gate never appears open again",
        run: closed_for_good,
        mistakes: &["closed_gate_asked_again"],
        preemptions: None,
    },
    Model {
        name: "not_awaited_end",
        invariant: "a call that waits for the drain is never counted in task_ref of a running call, even while it ends",
        run: not_awaited_end,
        mistakes: &["counted_while_not_awaited"],
        preemptions: Some(3),
    },
    Model {
        name: "not_awaited_beside_drain",
        invariant: "the drain ends even if a call waits for it, whenever that call begins to wait",
        run: not_awaited_beside_drain,
        mistakes: &["notified_only_when_empty"],
        preemptions: Some(2),
    },
    Model {
        name: "snapshot",
        invariant: "in every snapshot, each call that has ended was accepted",
        run: snapshot,
        mistakes: &["accepted_before_ended"],
        preemptions: Some(3),
    },
    Model {
        name: "freed_slots",
        invariant: "each freed slot is taken exactly once, with its link intact",
        run: freed_slots,
        mistakes: &["first_freed_overwritten", "freed_taken_relaxed"],
        preemptions: None,
    },
];

/// Counts a call and its end, unless the gate refuses the call.
fn short_call(tracker: &Arc<Tracker>, is_over: &AtomicBool) {
    let (_, task_ref) = tracker.writer().accept(&ASYNC);
    match task_ref {
        Some(task_ref) => {
            holds!(
                !is_over.load(Ordering::Relaxed),
                "the call was accepted after the gate had closed"
            );
            task_ref.discard_reserved();
        }
        None => holds!(
            tracker.shared.gate.is_closed(),
            "the call was refused although the gate is open"
        ),
    }
}

/// Counts a call, which has not ended.
fn live_call(tracker: &Arc<Tracker>) -> TaskRef {
    let (_, task_ref) = tracker.writer().accept(&ASYNC);
    task_ref.expect("the gate is open")
}

/// Drains as the shutdown sequence does, until the gate has closed.
fn drain(tracker: &Tracker) {
    tracker.start_draining();
    let deadline = Instant::now() + Duration::from_secs(3600);
    // Under loom only a notification wakes it. Without one, loom reports a deadlock.
    let drained = tracker
        .shared
        .shutdown
        .wait_until(deadline, |_| tracker.close_if_drained());
    holds!(drained, "no call runs, and the gate is open");
}

fn call_beside_close() {
    let (tracker, is_over) = (tracker(), Arc::new(AtomicBool::new(false)));
    let callers = [(); 2].map(|()| {
        let (tracker, is_over) = (tracker.clone(), is_over.clone());
        spawn(move || short_call(&tracker, &is_over))
    });
    if tracker.close_if_drained() {
        is_over.store(true, Ordering::Relaxed);
    }
    callers.into_iter().for_each(join);
    let totals = tracker.totals();
    holds!(
        totals.accepted == totals.ended() && totals.accepted + totals.refused == 2,
        "a call was not counted: {totals:?}"
    );
}

fn call_finish_shutdown() {
    let (tracker, is_over) = (tracker(), Arc::new(AtomicBool::new(false)));
    let before = live_call(&tracker);
    let finish = spawn(move || before.discard_reserved());
    let caller = {
        let (tracker, is_over) = (tracker.clone(), is_over.clone());
        spawn(move || short_call(&tracker, &is_over))
    };
    drain(&tracker);
    is_over.store(true, Ordering::Relaxed);
    join(finish);
    join(caller);
    let (_, late) = tracker.writer().accept(&ASYNC);
    holds!(late.is_none(), "a call was accepted after the drain");
}

fn two_shutdowns() {
    let (tracker, is_over) = (tracker(), Arc::new(AtomicBool::new(false)));
    let second = {
        let tracker = tracker.clone();
        spawn(move || ask(&tracker, ShutdownReason::Requested("second".into())))
    };
    let caller = {
        let (tracker, is_over) = (tracker.clone(), is_over.clone());
        spawn(move || short_call(&tracker, &is_over))
    };
    let first = ask(&tracker, ShutdownReason::MainReturned);
    let started = u32::from(first) + u32::from(join(second));
    holds!(started == 1, "{started} sequences were started");
    is_over.store(true, Ordering::Relaxed);
    join(caller);
    let (_, late) = tracker.writer().accept(&ASYNC);
    holds!(late.is_none(), "a call was accepted after the drain");
}

/// Requests the shutdown. The first request drains.
fn ask(tracker: &Arc<Tracker>, reason: ShutdownReason) -> bool {
    let is_first = tracker.shared.shutdown.set_request(reason);
    if is_first {
        drain(tracker);
    }
    is_first
}

fn tick_beside_request() {
    // A step of the model, unlike other notes: the two threads may have nothing else in common.
    let has_returned = Arc::new(crate::util::sync::atomic::AtomicBool::new(false));
    let tracker = tracker();
    let tick = {
        let (tracker, has_returned) = (tracker.clone(), has_returned.clone());
        spawn(move || {
            let Some(_tick) = tracker.shared.shutdown.start_tick() else {
                return;
            };
            // A separate step between the right to start and the start.
            let (_, task_ref) = tracker.writer().accept(&ASYNC);
            holds!(
                !has_returned.load(Ordering::SeqCst),
                "a run started after the request had returned"
            );
            task_ref.expect("the gate is open").discard_reserved();
        })
    };
    tracker
        .shared
        .shutdown
        .set_request(ShutdownReason::MainReturned);
    tracker.shared.shutdown.advance_to(Phase::Stopping);
    tracker
        .shared
        .shutdown
        .progress(|progress| progress.main_notified = true);
    let deadline = Instant::now() + Duration::from_secs(3600);
    tracker
        .shared
        .shutdown
        .wait_until_main_is_notified(deadline);
    has_returned.store(true, Ordering::SeqCst);
    join(tick);
}

fn closed_for_good() {
    let tracker = tracker();
    let _runs = live_call(&tracker);
    let deadline = {
        let tracker = tracker.clone();
        spawn(move || {
            tracker.close();
            holds!(
                tracker.shared.gate.is_closed(),
                "the gate has closed, and appears open"
            );
        })
    };
    tracker.close_if_drained();
    join(deadline);
    holds!(tracker.shared.gate.is_closed(), "the gate is open again");
}

fn not_awaited_end() {
    let tracker = tracker();
    let writer = &mut tracker.writer();
    let waiting = super::slots::filled(writer, &ASYNC);
    let running = super::slots::filled(writer, &ASYNC);
    waiting.wait_for_drain();
    let has_ended = Arc::new(AtomicBool::new(false));
    let waits = spawn(move || waiting.end(Outcome::Succeeded));
    let runs = {
        let has_ended = has_ended.clone();
        spawn(move || {
            has_ended.store(true, Ordering::Relaxed);
            running.end(Outcome::Succeeded);
        })
    };
    if tracker.close_if_drained() {
        holds!(
            has_ended.load(Ordering::Relaxed),
            "the gate closed while a call ran"
        );
    }
    join(waits);
    join(runs);
    holds!(
        tracker.close_if_drained(),
        "all calls have ended, and the gate is open"
    );
}

fn not_awaited_beside_drain() {
    let tracker = tracker();
    let writer = &mut tracker.writer();
    let waiting = super::slots::filled(writer, &ASYNC);
    let running = super::slots::filled(writer, &ASYNC);
    let waits = spawn(move || {
        waiting.wait_for_drain();
        // As a task that awaits the shutdown does.
        waiting.shared().shutdown.progress(|_| ());
    });
    let runs = spawn(move || running.end(Outcome::Succeeded));
    drain(&tracker);
    join(waits);
    join(runs);
}

fn snapshot() {
    let (tracker, is_over) = (tracker(), Arc::new(AtomicBool::new(false)));
    let before = live_call(&tracker);
    let finish = spawn(move || before.discard_reserved());
    let caller = {
        let (tracker, is_over) = (tracker.clone(), is_over.clone());
        spawn(move || short_call(&tracker, &is_over))
    };
    let totals = tracker.totals();
    holds!(
        totals.accepted == totals.running + totals.ended() && totals.accepted <= 2,
        "{totals:?}"
    );
    join(finish);
    join(caller);
}

fn freed_slots() {
    let counters = Arc::new(Counters::new(tracker().shared.clone()));
    // Slots 1 and 2. A link that has not been written is 0.
    let links = Arc::new([(); 3].map(|()| AtomicU32::new(0)));
    let give_back = |slot: u32| {
        let (counters, links) = (counters.clone(), links.clone());
        spawn(move || counters.give_back(true, slot, &links[slot as usize]))
    };
    let givers = [give_back(1), give_back(2)];
    let mut taken = Vec::new();
    let mut take = || {
        let mut slot = counters.take_freed(true);
        while slot != NONE {
            holds!(slot != 0, "a slot was taken before its link was written");
            taken.push(slot);
            holds!(taken.len() <= 2, "a slot was taken twice: {taken:?}");
            slot = links[slot as usize].load(Ordering::Relaxed);
        }
    };
    take();
    givers.into_iter().for_each(join);
    take();
    taken.sort_unstable();
    holds!(taken == [1, 2], "{taken:?}");
}
