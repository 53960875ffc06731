//! The events of a shutdown, and its printed report.
//! Owns their wording; must never know when a step happens.

use crate::policy::NeverStarted;
use crate::report::{
    Groups, ScheduledCall, ShutdownReason, ShutdownReport, Straggler, StragglerGroup,
};
use crate::tracker::shutdown_state::Request;
use crate::util::fmt::Rounded;
use crate::util::log::{has_subscriber, mention, report, sent, to_stderr};
use crate::util::side_thread::{SideThread, run_within_a_second};
use std::time::{Duration, Instant};
use tracing::level_filters::LevelFilter;

pub(super) fn requested(side_thread: &mut SideThread, request: &Request) {
    let (reason, grace) = (request.reason.clone(), request.grace);
    let pre_stop = request
        .main_stops
        .map_or(Duration::ZERO, |stops| stops.duration_since(request.asked));
    run_if_enabled(side_thread, LevelFilter::DEBUG, move || {
        mention!(debug, "shutdown requested"; reason = reason, grace = Rounded(grace), pre_stop = Rounded(pre_stop));
    });
}

pub(super) fn draining(side_thread: &mut SideThread, running: u64, deadline: Instant) {
    let remaining = deadline.saturating_duration_since(Instant::now());
    run_if_enabled(side_thread, LevelFilter::DEBUG, move || {
        mention!(debug, "draining"; running: running, remaining = Rounded(remaining));
    });
}

/// Logs how the shutdown went, and then what did not finish. If the report will be printed and there is no subscriber, the report
/// contains the same, so an unclean shutdown is not logged here.
pub(super) fn complete(side_thread: &mut SideThread, report: &ShutdownReport, is_printed: bool) {
    let (reason, elapsed) = (report.reason.clone(), report.elapsed);
    if !is_printed || has_subscriber() {
        not_made(side_thread, &report.scheduled, report.scheduled_count);
    }
    let (drained, stragglers, failures) =
        (report.drained, report.straggler_count, report.failure_count);
    if report.is_clean() {
        run_if_enabled(side_thread, LevelFilter::INFO, move || {
            mention!(info, "shutdown complete"; reason = reason, elapsed = Rounded(elapsed), drained: drained,
                stragglers: stragglers, failures: failures);
        });
    } else if !is_printed || has_subscriber() {
        let (named, further) = (report.stragglers.clone(), report.further_stragglers.clone());
        side_thread.run(move || {
            report!(warn, "shutdown complete"; reason = reason, elapsed = Rounded(elapsed), drained: drained,
                stragglers: stragglers, failures: failures);
            log_stragglers(&named, &further);
        });
    }
}

/// Logs the calls that were scheduled and are never made.
pub(super) fn not_made(side_thread: &mut SideThread, named: &[ScheduledCall], count: u64) {
    if count == 0 {
        return;
    }
    let named = named.to_vec();
    side_thread.run(move || {
        for call in &named {
            let due = humantime::format_rfc3339_seconds(call.due);
            report!(warn, "scheduled call was not made: the shutdown came first"; name = call.name, called_at = call.called_at,
                due = due);
        }
        let more = count - named.len() as u64;
        if more > 0 {
            report!(warn, "more scheduled calls were not made"; count: more);
        }
    });
}

pub(super) fn never_started(side_thread: &mut SideThread, tasks: Vec<NeverStarted>) {
    if !tasks.is_empty() {
        side_thread.run(move || tasks.iter().for_each(log_never_started));
    }
}

/// Runs `log` on the side thread if the level is enabled.
fn run_if_enabled(
    side_thread: &mut SideThread,
    level: LevelFilter,
    log: impl FnOnce() + Send + 'static,
) {
    if LevelFilter::current() >= level {
        side_thread.run(log);
    }
}

fn log_stragglers(named: &[Straggler], further: &[StragglerGroup]) {
    named.iter().for_each(log_straggler);
    let count: u64 = further.iter().map(|group| group.count).sum();
    if count > 0 {
        report!(warn, "more tasks did not finish before the shutdown deadline"; count: count, tasks = Groups(further));
    }
}

fn log_straggler(straggler: &Straggler) {
    let Straggler {
        id,
        name,
        age,
        called_at,
        takes_token,
        is_job: _,
        state,
        outcome,
        fields,
    } = straggler;
    report!(warn, "task did not finish before the shutdown deadline"; name = name, id: id.as_u64(), called_at = called_at,
        age = Rounded(*age), state = state, takes_token: *takes_token, outcome = outcome, fields + fields);
}

fn log_never_started(task: &NeverStarted) {
    let NeverStarted {
        name,
        state,
        location: (file, line),
    } = task;
    let location = format!("{file}:{line}");
    report!(error, "background function never started: its state was not provided"; name = name, state = state,
        location = location);
}

/// Writes the report to the subscriber, or to stderr if there is none. Takes at most a second, because stderr may be a pipe that
/// nobody reads; without a thread to spare, it waits for the write.
pub(crate) fn print(report: &ShutdownReport) {
    let report = report.clone();
    run_within_a_second(move || {
        let is_clean = report.is_clean();
        let has_news = !is_clean || report.scheduled_count > 0;
        let is_sent = sent(|| {
            if is_clean {
                // The event `shutdown complete` already contains the figures at `info`.
                tracing::debug!(target: "bgtask", "{report}");
            } else {
                tracing::warn!(target: "bgtask", "{report}");
            }
        });
        // A program that ends by itself, with nothing to report, prints nothing.
        if !is_sent && (report.reason != ShutdownReason::MainReturned || has_news) {
            to_stderr(format_args!("{report}"));
        }
    });
}
