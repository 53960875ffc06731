//! The one shutdown sequence: stopping, draining, deadline, report. Straight-line code on a thread of its own.
//! Owns the order of the phases and the waiting; knows nothing of signals, and of tasks only what the books say.
//!
//! The thread is not one of the runtime's, and it waits with the operating system's clock: workers that are all stuck, or
//! a runtime without a timer, cannot hold up the deadline.

pub(crate) mod dismissal;
pub(crate) mod essential;
pub(crate) mod last_attempt;

use crate::inspect::slow_tasks::Drained;
use crate::observe::turned_away;
use crate::policy::NeverStarted;
use crate::report::{Groups, ShutdownReason, ShutdownReport, Straggler, StragglerGroup};
use crate::tracker::Tracker;
use crate::tracker::shared::Shared;
use crate::tracker::shutdown_state::{Failures, Phase, Request};
use crate::tracker::stragglers::Stragglers;
use crate::util::log::{Time, has_subscriber, mention, report, sent, to_stderr};
use crate::util::panic::catch_and_ignore;
use crate::util::side_thread::{SideThread, run_aside, run_within_a_second};
use crate::util::sync::{broken, thread};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::level_filters::LevelFilter;

/// How long the aborts are awaited after the deadline. An aborted task has to be polled once more, which takes a busy
/// worker a moment; one that does not come back within this is not going to.
const ABORT_WAIT: Duration = Duration::from_secs(1);

/// The time to abandon and count one straggler on a busy machine. We wait that much less for the aborts, so that the process
/// leaves in time even with a million stragglers.
const PER_STRAGGLER: Duration = Duration::from_nanos(750);

/// How long a thread that is in the midst of a call, or of the end of one, is waited for.
const INTERRUPTION: Duration = Duration::from_millis(100);

/// How long a caller waits until `main` has been notified. A stuck metrics recorder takes less than this (see [`SideThread`]); only a
/// waker that blocks takes more.
const NOTIFY_WAIT: Duration = Duration::from_secs(2);

/// Requests the shutdown. The first reason stands.
pub(crate) fn request(tracker: &Arc<Tracker>, reason: ShutdownReason) {
    if tracker.shared.shutdown.set_request(reason) {
        start(tracker);
    }
}

/// Requests the shutdown, and returns when `main`'s token has fired, its waiters have been woken, and no schedule starts a run
/// any more.
///
/// It waits for the sequence instead of firing the token here, because the token may wake anybody's code: that code may panic,
/// block, or want a lock that this caller holds. A caller that must not wait, such as the signal watcher, calls [`request`].
pub(crate) fn request_and_notify(tracker: &Arc<Tracker>, reason: ShutdownReason) {
    request(tracker, reason);
    let deadline = Instant::now() + NOTIFY_WAIT;
    tracker
        .shared
        .shutdown
        .wait_until_main_is_notified(deadline);
}

/// Blocks this thread until the tokens of the tasks have fired and their waiters have been woken, for two seconds at most: a
/// waker may block.
pub(crate) fn wait_until_tasks_are_notified(shared: &Shared) {
    shared
        .shutdown
        .wait_until(Instant::now() + NOTIFY_WAIT, |progress| {
            progress.tasks_notified
        });
}

/// Starts the requested shutdown sequence.
pub(crate) fn start(tracker: &Arc<Tracker>) {
    let shared = &tracker.shared;
    shared.shutdown.advance_to(Phase::Stopping);
    // The tokens are fired over there too: what they wake may be anybody's code, and the caller may be the signal watcher.
    let sequence = Arc::clone(tracker);
    let spawned = thread::Builder::new()
        .name("bgtask-shutdown".to_owned())
        .spawn(move || run(&sequence));
    if let Err(error) = spawned {
        // Better late than not at all: without a thread to spare, the caller's has to do.
        report!(warn, "no thread for the shutdown, it blocks its caller"; error = error);
        shared
            .shutdown
            .progress(|progress| progress.main_ended = true);
        run(tracker);
    }
}

/// Asks for the shutdown if nobody has, and lets the draining begin: `main`, or what stands for it, has ended.
pub(crate) fn main_ended(tracker: &Arc<Tracker>, reason: ShutdownReason) {
    tracker
        .shared
        .shutdown
        .progress(|progress| progress.main_ended = true);
    request(tracker, reason);
}

/// The sequence. Runs once a manager.
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
    let (reason, grace) = (request.reason.clone(), request.grace);
    mention_aside(&mut side_thread, LevelFilter::DEBUG, move || {
        mention!(debug, "shutdown asked for"; reason = reason, grace = Time(grace));
    });

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
    shared.shutdown.advance_to(Phase::Draining);
    shared.fire(&mut side_thread);
    shared
        .shutdown
        .progress(|progress| progress.tasks_notified = true);
    let running = before.running;
    let left = deadline.saturating_duration_since(Instant::now());
    mention_aside(&mut side_thread, LevelFilter::DEBUG, move || {
        mention!(debug, "draining"; running: running, left = Time(left));
    });

    let drained = drain(tracker, request);
    let stragglers = if drained {
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
        gave_up: shared.policies.gave_up(),
        straggler_count: stragglers.count,
        stragglers: stragglers.named,
        further_stragglers: stragglers.further,
        failure_count,
        failures,
        main_was_late,
        totals,
    };
    mention_end(&mut side_thread, &report, shared.is_process_default);
    turned_away::write_held_back(&shared.policies, &mut side_thread);
    let never_started = shared.policies.never_started();
    if !never_started.is_empty() {
        side_thread.run(move || never_started.iter().for_each(name_never_started));
    }
    shared.conclude(report, &mut side_thread);
    // After the report, for which somebody may wait.
    // Skipped under `#[bgtask::main]`, which is about to end its runtime, and all slot runners with it: there may be a million.
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
fn close_store(shared: &Shared) {
    if let Some(store) = shared.attached.get() {
        catch_and_ignore(|| store.close(Instant::now() + STORE_WAIT));
    }
}

/// Logs a step of the sequence, if the level is enabled.
fn mention_aside(
    side_thread: &mut SideThread,
    level: LevelFilter,
    tell: impl FnOnce() + Send + 'static,
) {
    if LevelFilter::current() >= level {
        side_thread.run(tell);
    }
}

/// Logs how the shutdown went, and then what did not finish. If `is_printed` and there is no subscriber, the report says the same
/// on stderr at the very end, so an unclean shutdown is not logged here.
fn mention_end(side_thread: &mut SideThread, report: &ShutdownReport, is_printed: bool) {
    let is_clean = report.is_clean();
    let (reason, elapsed) = (report.reason.clone(), report.elapsed);
    let (drained, stragglers, failures) =
        (report.drained, report.straggler_count, report.failure_count);
    if is_clean {
        mention_aside(side_thread, LevelFilter::INFO, move || {
            mention!(info, "shutdown ended"; reason = reason, elapsed = Time(elapsed), drained: drained,
                stragglers: stragglers, failures: failures);
        });
    } else if !is_printed || has_subscriber() {
        let (named, further) = (report.stragglers.clone(), report.further_stragglers.clone());
        side_thread.run(move || {
            report!(warn, "shutdown ended"; reason = reason, elapsed = Time(elapsed), drained: drained,
                stragglers: stragglers, failures: failures);
            name_stragglers(&named, &further);
        });
    }
}

/// Waits until nothing runs any more, or until the deadline; names on the way what runs on long after its token fired.
fn drain(tracker: &Tracker, request: &Request) -> bool {
    let Request {
        grace, deadline, ..
    } = *request;
    let told = Drained::new(grace, deadline);
    let mut next = told.first_look();
    let mut last_attempts_end = Some(last_attempt::end(request));
    loop {
        let wakes = [next, last_attempts_end];
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
        if next.is_none_or(|next| now < next) {
            continue;
        }
        let (tell, again) = told.look(tracker);
        // Not waited for: that could put off the deadline. Nor told without a thread: at the end it would come too late.
        let _ = run_aside(tell);
        next = again;
    }
}

/// The deadline has passed: aborts what can be aborted, awaits that for a moment, abandons the rest.
fn expire(tracker: &Tracker, deadline: Instant, side_thread: &mut SideThread) -> Stragglers {
    let shared = &*tracker.shared;
    if broken!("expired_before_late") {
        shared.shutdown.advance_to(Phase::Expired);
    }
    // Before the phase, which has tasks dropped wherever they are polled: those are to be named too.
    tracker.close_late();
    shared.shutdown.advance_to(Phase::Expired);
    let mut ends = Vec::new();
    // Counted from the deadline, however long it takes to wake all tasks, and less the time that the rest needs.
    let left_for_rest = PER_STRAGGLER
        .saturating_mul(u32::try_from(tracker.totals().running).unwrap_or(u32::MAX))
        .min(ABORT_WAIT * 3 / 4);
    let until = (deadline + ABORT_WAIT - left_for_rest).max(Instant::now() + ABORT_WAIT / 4);
    tracker.expire(until, &mut ends);
    shared.shutdown.wait_until(until, |_| tracker.is_drained());
    // What is accepted is written down at once, and what is struck out is counted at once; but a thread may be interrupted in
    // between.
    let given_up = Instant::now() + INTERRUPTION;
    loop {
        tracker.abandon(&mut ends);
        let look_again = Instant::now() + Duration::from_millis(5);
        let is_drained = shared
            .shutdown
            .wait_until(look_again, |_| tracker.is_drained());
        if is_drained || look_again > given_up {
            break;
        }
    }
    if !ends.is_empty() {
        // What is told may be a hook of the user's, which may wait for something that is stuck.
        let shared = tracker.shared.clone();
        side_thread.run(move || shared.hooks.all_ended(&ends));
    }
    shared.policies.forget_struck_out();
    shared.shutdown.take_late()
}

fn name_stragglers(named: &[Straggler], further: &[StragglerGroup]) {
    named.iter().for_each(name_straggler);
    let count: u64 = further.iter().map(|group| group.count).sum();
    if count > 0 {
        report!(warn, "further tasks did not finish in time"; count: count, tasks = Groups(further));
    }
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
        state,
        outcome,
    } = straggler;
    report!(warn, "task did not finish in time"; name = name, id: id.as_u64(), called_at = called_at,
        age = Time(*age), state = state, takes_token: *takes_token, outcome = outcome);
}

/// Says how the shutdown went: to the subscriber if there is one, else to stderr. Nobody may read either, so it takes a
/// second at most, as long as there is a thread for it.
pub(crate) fn print(report: &ShutdownReport) {
    let report = report.clone();
    run_within_a_second(move || {
        let is_clean = report.is_clean();
        let told = sent(|| {
            if is_clean {
                // The event `shutdown ended` says the same.
                tracing::debug!(target: "bgtask", "{report}");
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
