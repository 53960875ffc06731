//! The one shutdown sequence: stopping, draining, deadline, report. Straight-line code on its own thread.
//! Owns the order of the phases and the waiting; must never know about signals, nor how the tracker keeps tasks.

pub(crate) mod dismissal;
pub(crate) mod essential;
pub(crate) mod last_attempt;
pub(crate) mod log;
mod overdue;
pub(crate) mod request;

use crate::observe::rejections;
use crate::report::ShutdownReport;
use crate::tracker::Tracker;
use crate::tracker::shutdown_state::{Failures, Phase, Progress, Request};
use crate::tracker::stragglers::Stragglers;
use crate::util::panic::catch_and_ignore;
use crate::util::side_thread::{SideThread, run_aside};
use crate::util::sync::{broken, thread};
use overdue::Overdue;
use std::time::{Duration, Instant};

/// How many calls the report names that were scheduled and never made.
const SCHEDULED_KEPT: usize = 100;

/// How long the aborts are awaited after the deadline. An aborted task has to be polled once more, which takes a busy worker a
/// moment. A task that does not return within this time is stuck.
const ABORT_WAIT: Duration = Duration::from_secs(1);

/// The time to abandon and count one straggler on a busy machine. The aborts are awaited for that much less, so that the process
/// exits in time even with a million stragglers.
const PER_STRAGGLER: Duration = Duration::from_nanos(750);

/// How long to wait for a thread that is interrupted between accepting a call and recording it, or between retiring a call and
/// counting it.
const INTERRUPTION: Duration = Duration::from_millis(100);

/// Runs the sequence, once per manager.
///
/// The thread does not belong to the runtime and waits by the operating system's clock, so neither stuck workers nor a runtime
/// without a timer can delay the deadline.
fn run(tracker: &Tracker) {
    let shared = &tracker.shared;
    let Some(request) = shared.shutdown.request() else {
        return;
    };
    let deadline = request.deadline;
    let mut side_thread = SideThread::new();
    shared
        .shutdown
        .progress(|progress| progress.fired_by = Some(thread::current().id()));
    shared.fire(&mut side_thread);
    shared
        .shutdown
        .progress(|progress| progress.main_notified = true);
    log::requested(&mut side_thread, request);
    if let Some(main_stops) = request.main_stops {
        // Ends early if `main` does, for nothing serves then.
        let wait = |progress: &Progress| progress.main_ended;
        shared.shutdown.wait_until(main_stops, wait);
        shared.shutdown.stop_main();
        catch_and_ignore(|| shared.shutdown.main.cancel());
    }

    let main_was_late = !shared
        .shutdown
        .wait_until(deadline, |progress| progress.main_ended);
    if main_was_late {
        catch_and_ignore(|| shared.shutdown.main_is_late.cancel());
    }

    let before = tracker.totals();
    if broken!("fired_before_phase") {
        shared.shutdown.draining.cancel();
    }
    tracker.start_draining();
    // Before the phase: a call that is made now is drained, and one that still waits is named.
    let scheduled = shared.policies.later.close(SCHEDULED_KEPT);
    shared.shutdown.advance_to(Phase::Draining);
    shared.fire(&mut side_thread);
    shared
        .shutdown
        .progress(|progress| progress.tasks_notified = true);
    log::draining(&mut side_thread, before.running, deadline);

    let stragglers = if drain(tracker, request) {
        Stragglers::default()
    } else {
        expire(tracker, deadline, &mut side_thread)
    };
    #[cfg(feature = "durable")]
    close_store(shared);
    let totals = tracker.totals();
    // Every task that ended is either drained or a straggler. A task that ended just before the deadline counts as drained.
    let ended = totals.ended() - before.ended();
    let Failures {
        named: failures,
        count: failure_count,
    } = shared.shutdown.take_failures();
    let report = ShutdownReport {
        reason: request.reason.clone(),
        elapsed: request.asked.elapsed(),
        grace: request.grace,
        drained: ended.saturating_sub(stragglers.count),
        gave_up: shared.policies.gave_up.get(),
        straggler_count: stragglers.count,
        stragglers: stragglers.named,
        further_stragglers: stragglers.further,
        failure_count,
        failures,
        scheduled_count: scheduled.count,
        scheduled: scheduled.first,
        main_was_late,
        totals,
    };
    log::complete(&mut side_thread, &report, shared.is_process_default);
    rejections::write_held_back(&shared.policies, &mut side_thread);
    log::never_started(&mut side_thread, shared.policies.never_started());
    shared.conclude(report, &mut side_thread);
    // After the report, for which callers wait. Under `#[bgtask::main]` the runtime ends next, and with it every slot runner:
    // there may be a million.
    if !shared.is_process_default && !broken!("runners_not_dismissed") {
        catch_and_ignore(|| tracker.dismiss_runners());
    }
    side_thread.catch_up();
    shared.shutdown.call_on_complete();
}

/// How long the store of durable jobs may take after the drain, or after the deadline.
#[cfg(feature = "durable")]
const STORE_WAIT: Duration = Duration::from_secs(3);

/// Has the ends of durable jobs stored, and returns the jobs that have not ended to their queues.
#[cfg(feature = "durable")]
fn close_store(shared: &crate::tracker::shared::Shared) {
    if let Some(store) = shared.attached.get() {
        catch_and_ignore(|| store.close(Instant::now() + STORE_WAIT));
    }
}

/// Waits until no task is live, or until the deadline. On the way, fires the tokens of last attempts and reports overdue tasks.
/// Returns whether all tasks have ended.
fn drain(tracker: &Tracker, request: &Request) -> bool {
    let deadline = request.deadline;
    let overdue = Overdue::new(request.grace, deadline);
    let mut next_scan = overdue.first_scan();
    let mut last_attempts_end = Some(last_attempt::end(request));
    loop {
        let wakes = [next_scan, last_attempts_end];
        let until = wakes.into_iter().flatten().fold(deadline, Instant::min);
        if tracker
            .shared
            .shutdown
            .wait_until(until, |_| tracker.close_if_drained())
        {
            return true;
        }
        let now = Instant::now();
        if last_attempts_end.is_some_and(|end| end <= now) {
            last_attempts_end = None;
            let shared = tracker.shared.clone();
            // On another thread, because a waker may block, which must not delay the deadline.
            if let Err(fire) = run_aside(move || last_attempt::fire(&shared)) {
                fire();
            }
        }
        if now >= deadline {
            return false;
        }
        if next_scan.is_some_and(|next| next <= now) {
            let (report, next) = overdue.scan(tracker);
            // Not awaited, because that could delay the deadline. Not postponed either if no thread can be spawned: a later
            // report helps nobody.
            let _ = run_aside(report);
            next_scan = next;
        }
    }
}

/// Handles the deadline: aborts the tasks that can be aborted, awaits the aborts for a moment, and abandons the rest.
fn expire(tracker: &Tracker, deadline: Instant, side_thread: &mut SideThread) -> Stragglers {
    let shared = &*tracker.shared;
    if broken!("expired_before_late") {
        shared.shutdown.advance_to(Phase::Expired);
    }
    // Before the phase: from then on every polled task is dropped, and the report has to name those too.
    tracker.close_late();
    shared.fields.keep_ended();
    shared.shutdown.advance_to(Phase::Expired);
    let mut ends = Vec::new();
    // Measured from the deadline, however long it takes to wake all tasks, and less the time that abandoning needs.
    let time_to_abandon = PER_STRAGGLER
        .saturating_mul(u32::try_from(tracker.totals().running).unwrap_or(u32::MAX))
        .min(ABORT_WAIT * 3 / 4);
    let until = (deadline + ABORT_WAIT - time_to_abandon).max(Instant::now() + ABORT_WAIT / 4);
    tracker.expire(until, &mut ends);
    shared.shutdown.wait_until(until, |_| tracker.is_drained());
    // A call is recorded as soon as it is accepted, and counted as soon as it is retired, unless its thread is interrupted in
    // between.
    let give_up = Instant::now() + INTERRUPTION;
    loop {
        tracker.abandon(&mut ends);
        let retry = Instant::now() + Duration::from_millis(5);
        let is_drained = shared.shutdown.wait_until(retry, |_| tracker.is_drained());
        if is_drained || retry > give_up {
            break;
        }
    }
    if !ends.is_empty() {
        // On another thread, because a hook may wait for something that is stuck.
        let shared = tracker.shared.clone();
        side_thread.run(move || shared.hooks.all_ended(&mut ends));
    }
    shared.policies.forget_retired();
    let late = shared.shutdown.take_late();
    // No report names a call any more.
    shared.fields.clear();
    late
}
