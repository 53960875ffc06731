//! The one shutdown sequence: stopping, draining, deadline, report. Straight-line code on a thread of its own.
//! Owns the order of the phases and the waiting; knows nothing of signals, and of tasks only what the books say.
//!
//! The thread is not one of the runtime's, and it waits with the operating system's clock: workers that are all stuck, or
//! a runtime without a timer, cannot hold up the deadline.

use crate::ledger::Ledger;
use crate::notice::{report, sent, tell_within_a_second, to_stderr};
use crate::panic_site::contain;
use crate::policy::NeverStarted;
use crate::report::{ShutdownReason, ShutdownReport, Straggler};
use crate::shared::Phase;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// How long the aborts are awaited after the deadline. An aborted task has to be polled once more, which takes a busy
/// worker a moment; one that does not come back within this is not going to.
const ABORT_WAIT: Duration = Duration::from_secs(1);

/// Asks for the shutdown, from wherever. The first reason stands.
pub(crate) fn request(ledger: &Arc<Ledger>, reason: ShutdownReason) {
    let shared = &ledger.shared;
    if !shared.set_request(reason) {
        return;
    }
    shared.advance_to(Phase::Stopping);
    // The tokens are fired over there too: what they wake may be anybody's code, and the caller may be the signal watcher.
    let sequence = Arc::clone(ledger);
    let spawned = thread::Builder::new()
        .name("bgtask-shutdown".to_owned())
        .spawn(move || run(&sequence));
    if let Err(error) = spawned {
        // Better late than not at all: without a thread to spare, the caller's has to do.
        report!(warn, "no thread for the shutdown, it blocks its caller"; error = error);
        shared.progress(|progress| progress.main_ended = true);
        run(ledger);
    }
}

/// Asks for the shutdown if nobody has, and lets the draining begin: `main`, or what stands for it, has ended.
pub(crate) fn main_ended(ledger: &Arc<Ledger>, reason: ShutdownReason) {
    ledger
        .shared
        .progress(|progress| progress.main_ended = true);
    request(ledger, reason);
}

/// The sequence. Runs once a manager.
fn run(ledger: &Ledger) {
    let shared = &*ledger.shared;
    let Some(request) = shared.request() else {
        return;
    };
    let deadline = request.deadline;
    shared.fire();

    let main_was_late = !shared.wait_until(deadline, |progress| progress.main_ended);
    if main_was_late {
        contain(|| shared.main_is_late.cancel());
    }

    let before = ledger.totals();
    ledger.start_draining();
    shared.advance_to(Phase::Draining);
    shared.fire();

    let drained = shared.wait_until(deadline, |_| ledger.close_if_drained());
    let ended_in_time = ledger.totals().ended() - before.ended();

    let stragglers = if drained { Vec::new() } else { expire(ledger) };
    let report = ShutdownReport {
        reason: request.reason.clone(),
        elapsed: request.asked.elapsed(),
        grace: request.grace,
        drained: ended_in_time,
        stragglers,
        failures: shared.take_failures(),
        main_was_late,
        totals: ledger.totals(),
    };
    if !report.stragglers.is_empty() {
        let stragglers = report.stragglers.clone();
        tell_within_a_second(move || stragglers.iter().for_each(name_straggler));
    }
    let never_started = shared.policies.never_started();
    if !never_started.is_empty() {
        tell_within_a_second(move || never_started.iter().for_each(name_never_started));
    }
    shared.conclude(report);
    // After the report, for which somebody may wait.
    contain(|| ledger.dismiss_lanes());
    shared.speak_last_words();
}

/// The deadline has passed: aborts what can be aborted, awaits that for a moment, abandons the rest.
fn expire(ledger: &Ledger) -> Vec<Straggler> {
    let shared = &*ledger.shared;
    // Before the phase, which has tasks dropped wherever they are polled: those are to be named too.
    ledger.close_late();
    shared.advance_to(Phase::Expired);
    let mut ends = Vec::new();
    for waker in ledger.expire(&mut ends) {
        contain(|| waker.wake());
    }
    shared.wait_until(Instant::now() + ABORT_WAIT, |_| ledger.is_drained());
    let late = ledger.abandon(&mut ends);
    if !ends.is_empty() {
        // What is told may be a hook of the user's, which may wait for something that is stuck.
        let shared = ledger.shared.clone();
        tell_within_a_second(move || ends.iter().for_each(|end| shared.hooks.ended(end)));
    }
    late.into_iter()
        .map(|task| Straggler {
            id: task.identity.id,
            name: task.identity.handler.name(),
            age: task.age,
            called_at: task.identity.called_at,
            takes_token: task.identity.handler.takes_token(),
            outcome: task.outcome,
        })
        .collect()
}

fn name_never_started(task: &NeverStarted) {
    let NeverStarted {
        name,
        state,
        place: (file, line),
    } = task;
    let place = format_args!("{file}:{line}");
    report!(error, "a background function never started: nobody provided its state"; name = name, state = state,
        place = place);
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

/// Says how the shutdown went: to the subscriber if there is one, else to stderr. Nobody may read either, so it takes a
/// second at most.
pub(crate) fn print(report: &ShutdownReport) {
    let report = report.clone();
    tell_within_a_second(move || {
        let is_clean = report.is_clean();
        let told = sent(|| {
            if is_clean {
                tracing::info!(target: "bgtask", "{report}");
            } else {
                tracing::warn!(target: "bgtask", "{report}");
            }
        });
        // A program that came to its own end, with nothing left to tell, ends as quietly as any other.
        if !told && (report.reason != ShutdownReason::MainReturned || !is_clean) {
            to_stderr(format_args!("{report}"));
        }
    });
}
