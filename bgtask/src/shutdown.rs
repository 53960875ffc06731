//! The one shutdown sequence: stopping, draining, deadline, report. Straight-line code on a thread of its own.
//! Owns the order of the phases and the waiting; knows nothing of signals, and of tasks only what the books say.
//!
//! The thread is not one of the runtime's, and it waits with the operating system's clock: workers that are all stuck, or
//! a runtime without a timer, cannot hold up the deadline.

use crate::ledger::Ledger;
use crate::notice::{
    Teller, Time, mention, report, sent, tell_aside, tell_within_a_second, to_stderr,
};
use crate::panic_site::contain;
use crate::policy::NeverStarted;
use crate::report::{ShutdownReason, ShutdownReport, Straggler};
use crate::shared::{Phase, Request};
use crate::sync::{broken, thread};
use crate::turned_away;
use crate::watch::Drained;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::level_filters::LevelFilter;

/// How long the aborts are awaited after the deadline. An aborted task has to be polled once more, which takes a busy
/// worker a moment; one that does not come back within this is not going to.
const ABORT_WAIT: Duration = Duration::from_secs(1);

/// How long a thread that is in the midst of a call, or of the end of one, is waited for.
const INTERRUPTION: Duration = Duration::from_millis(100);

/// How long a caller waits until `main` has been notified. More than a stuck recorder of metrics can take (see [`Teller`]);
/// it passes only where a waker blocks.
const NOTIFY_WAIT: Duration = Duration::from_secs(2);

/// Requests the shutdown. The first reason stands.
pub(crate) fn request(ledger: &Arc<Ledger>, reason: ShutdownReason) {
    if ledger.shared.set_request(reason) {
        start(ledger);
    }
}

/// The same, and returns when `main`'s token has fired, its waiters have been woken, and no run starts by the clock any more.
///
/// It waits for the sequence instead of firing the token here: what the token wakes may be anybody's code. It may panic, block,
/// or want a lock that this caller holds. Whoever must not wait, as the signal watcher, calls [`request`].
pub(crate) fn request_and_notify(ledger: &Arc<Ledger>, reason: ShutdownReason) {
    request(ledger, reason);
    let deadline = Instant::now() + NOTIFY_WAIT;
    ledger.shared.wait_until_main_is_notified(deadline);
}

/// Starts the sequence that has been requested.
pub(crate) fn start(ledger: &Arc<Ledger>) {
    let shared = &ledger.shared;
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
    let shared = &ledger.shared;
    let Some(request) = shared.request() else {
        return;
    };
    let deadline = request.deadline;
    let mut teller = Teller::new();
    shared.progress(|progress| progress.fired_by = Some(thread::current().id()));
    shared.fire(&mut teller);
    shared.progress(|progress| progress.main_notified = true);
    let (reason, grace) = (request.reason.clone(), request.grace);
    mention_aside(&mut teller, move || {
        mention!(info, "shutdown asked for"; reason = reason, grace = Time(grace));
    });

    let main_was_late = !shared.wait_until(deadline, |progress| progress.main_ended);
    if main_was_late {
        contain(|| shared.main_is_late.cancel());
    }

    let before = ledger.totals();
    if broken!("fired_before_phase") {
        shared.draining.cancel();
    }
    ledger.start_draining();
    shared.advance_to(Phase::Draining);
    shared.fire(&mut teller);
    shared.progress(|progress| progress.tasks_told = true);
    let running = before.running;
    let left = deadline.saturating_duration_since(Instant::now());
    mention_aside(&mut teller, move || {
        mention!(info, "draining"; running: running, left = Time(left));
    });

    let drained = drain(ledger, request);
    let stragglers = if drained {
        Vec::new()
    } else {
        expire(ledger, &mut teller)
    };
    let totals = ledger.totals();
    // Whatever ended is one or the other: what ended last before the deadline is drained, and what is named is not.
    let ended = totals.ended() - before.ended();
    let report = ShutdownReport {
        reason: request.reason.clone(),
        elapsed: request.asked.elapsed(),
        grace: request.grace,
        drained: ended.saturating_sub(stragglers.len() as u64),
        gave_up: shared.policies.gave_up(),
        stragglers,
        failures: shared.take_failures(),
        main_was_late,
        totals,
    };
    if !report.stragglers.is_empty() {
        let stragglers = report.stragglers.clone();
        teller.tell(move || stragglers.iter().for_each(name_straggler));
    }
    turned_away::write_held_back(shared, &mut teller);
    let never_started = shared.policies.never_started();
    if !never_started.is_empty() {
        teller.tell(move || never_started.iter().for_each(name_never_started));
    }
    mention_end(&mut teller, &report);
    shared.conclude(report, &mut teller);
    // After the report, for which somebody may wait.
    if !broken!("lanes_not_dismissed") {
        contain(|| ledger.dismiss_lanes());
    }
    teller.catch_up();
    shared.speak_last_words();
}

/// Tells those who listen of the sequence.
fn mention_aside(teller: &mut Teller, tell: impl FnOnce() + Send + 'static) {
    if LevelFilter::current() >= LevelFilter::INFO {
        teller.tell(tell);
    }
}

fn mention_end(teller: &mut Teller, report: &ShutdownReport) {
    let is_clean = report.is_clean();
    let (reason, elapsed) = (report.reason.clone(), report.elapsed);
    let (drained, stragglers, failures) = (
        report.drained,
        report.stragglers.len(),
        report.failures.len(),
    );
    mention_aside(teller, move || {
        if is_clean {
            mention!(info, "shutdown ended"; reason = reason, elapsed = Time(elapsed), drained: drained,
                stragglers: stragglers, failures: failures);
        } else {
            mention!(warn, "shutdown ended"; reason = reason, elapsed = Time(elapsed), drained: drained,
                stragglers: stragglers, failures: failures);
        }
    });
}

/// Waits until nothing runs any more, or until the deadline; names on the way what runs on long after its token fired.
fn drain(ledger: &Ledger, request: &Request) -> bool {
    let Request {
        grace, deadline, ..
    } = *request;
    let told = Drained::new(grace, deadline);
    let mut next = told.first_look();
    loop {
        let until = next.map_or(deadline, |next| next.min(deadline));
        if ledger
            .shared
            .wait_until(until, |_| ledger.close_if_drained())
        {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        let (tell, again) = told.look(ledger);
        // Not waited for: that could put off the deadline. Nor told without a thread: at the end it would come too late.
        let _ = tell_aside(tell);
        next = again;
    }
}

/// The deadline has passed: aborts what can be aborted, awaits that for a moment, abandons the rest.
fn expire(ledger: &Ledger, teller: &mut Teller) -> Vec<Straggler> {
    let shared = &*ledger.shared;
    if broken!("expired_before_late") {
        shared.advance_to(Phase::Expired);
    }
    // Before the phase, which has tasks dropped wherever they are polled: those are to be named too.
    ledger.close_late();
    shared.advance_to(Phase::Expired);
    let mut ends = Vec::new();
    for waker in ledger.expire(&mut ends) {
        contain(|| waker.wake());
    }
    shared.wait_until(Instant::now() + ABORT_WAIT, |_| ledger.is_drained());
    // What is accepted is written down at once, and what is struck out is counted at once; but a thread may be interrupted in
    // between.
    let given_up = Instant::now() + INTERRUPTION;
    loop {
        ledger.abandon(&mut ends);
        let look_again = Instant::now() + Duration::from_millis(5);
        let is_drained = shared.wait_until(look_again, |_| ledger.is_drained());
        if is_drained || look_again > given_up {
            break;
        }
    }
    if !ends.is_empty() {
        // What is told may be a hook of the user's, which may wait for something that is stuck.
        let shared = ledger.shared.clone();
        teller.tell(move || shared.hooks.all_ended(&ends));
    }
    let late = shared.take_late();
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
    let place = format!("{file}:{line}");
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
    report!(warn, "task did not finish in time"; name = name, id: id.as_u64(), called_at = called_at,
        age = Time(*age), takes_token: *takes_token, outcome = outcome);
}

/// Says how the shutdown went: to the subscriber if there is one, else to stderr. Nobody may read either, so it takes a
/// second at most, as long as there is a thread for it.
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
