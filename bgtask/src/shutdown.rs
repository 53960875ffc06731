//! The one shutdown sequence: stopping, draining, deadline, report. Straight-line code on a thread of its own.
//! Owns the order of the phases and the waiting; knows nothing of signals, and of tasks only what the books say.
//!
//! The thread is not one of the runtime's, and it waits with the operating system's clock: workers that are all stuck, or
//! a runtime without a timer, cannot hold up the deadline.

use crate::notice::{has_subscriber, report, to_stderr};
use crate::report::{ShutdownReason, ShutdownReport, Straggler};
use crate::shared::{Phase, Shared};
use crate::stats::Outcome;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// How long the aborts are awaited after the deadline. An aborted task has to be polled once more, which takes a busy
/// worker a moment; one that does not come back within this is not going to.
const ABORT_WAIT: Duration = Duration::from_secs(1);

/// Asks for the shutdown, from wherever. The first reason stands.
pub(crate) fn request(shared: &Arc<Shared>, reason: ShutdownReason) {
    if !shared.set_request(reason) {
        return;
    }
    shared.advance_to(Phase::Stopping);
    let sequence = Arc::clone(shared);
    let spawned = thread::Builder::new()
        .name("bgtask-shutdown".to_owned())
        .spawn(move || run(&sequence));
    if let Err(error) = spawned {
        // Better late than not at all: without a thread to spare, the caller's has to do.
        report!(warn, "no thread for the shutdown, it blocks its caller"; error = error);
        shared.progress(|progress| progress.main_ended = true);
        run(shared);
    }
}

/// Asks for the shutdown if nobody has, and lets the draining begin: `main`, or what stands for it, has ended.
pub(crate) fn main_ended(shared: &Arc<Shared>, reason: ShutdownReason) {
    shared.progress(|progress| progress.main_ended = true);
    request(shared, reason);
}

/// The sequence. Runs once a manager.
fn run(shared: &Shared) {
    let Some(request) = shared.request() else {
        return;
    };
    let deadline = request.deadline;

    let main_was_late = !shared.wait_until(deadline, |progress| progress.main_ended);
    if main_was_late {
        shared.main_is_late.cancel();
    }

    let before = shared.ledger.totals();
    shared.ledger.start_draining();
    shared.advance_to(Phase::Draining);

    let drained = shared.wait_until(deadline, |_| shared.ledger.close_if_drained());
    let ended_in_time = shared.ledger.totals().ended() - before.ended();

    let stragglers = if drained { Vec::new() } else { expire(shared) };
    let report = ShutdownReport {
        reason: request.reason.clone(),
        elapsed: request.asked.elapsed(),
        grace: request.grace,
        drained: ended_in_time,
        stragglers,
        failures: shared.take_failures(),
        main_was_late,
        totals: shared.ledger.totals(),
    };
    for straggler in &report.stragglers {
        name_straggler(straggler);
    }
    shared.conclude(report);
}

/// The deadline has passed: aborts what can be aborted, awaits that for a moment, abandons the rest.
fn expire(shared: &Shared) -> Vec<Straggler> {
    shared.advance_to(Phase::Expired);
    let late = shared.ledger.expire();
    let now = Instant::now();
    shared.wait_until(now + ABORT_WAIT, |_| shared.ledger.is_drained());
    let abandoned = shared.ledger.abandon();
    late.into_iter()
        .map(|task| Straggler {
            id: task.id,
            name: task.handler.name(),
            age: now.saturating_duration_since(task.called),
            called_at: task.called_at,
            takes_token: task.handler.takes_token(),
            outcome: if abandoned.contains(&task.id) {
                Outcome::Abandoned
            } else {
                task.outcome
            },
        })
        .collect()
}

fn name_straggler(straggler: &Straggler) {
    let Straggler {
        id,
        name,
        age,
        called_at,
        takes_token,
        outcome,
    } = straggler;
    let age = crate::report::Seconds(*age);
    report!(warn, "task did not finish in time"; name = name, id = id, age = age, called_at = called_at,
        takes_token = takes_token, outcome = outcome);
}

/// Says how the shutdown went, once: to the subscriber if there is one, else to stderr.
pub(crate) fn print(report: &ShutdownReport) {
    if !has_subscriber() {
        // A program that came to its own end, with nothing left to tell, ends as quietly as any other.
        if report.reason != ShutdownReason::MainReturned || !report.is_clean() {
            to_stderr(format_args!("{report}"));
        }
    } else if report.is_clean() {
        tracing::info!(target: "bgtask", "{report}");
    } else {
        tracing::warn!(target: "bgtask", "{report}");
    }
}
