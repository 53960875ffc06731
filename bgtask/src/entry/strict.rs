//! `#[bgtask::main(strict)]`: what makes a program fail whose `main` has succeeded.
//! Owns the decision and its line on stderr; must never know how anything is counted.

use crate::policy::Registry;
use crate::report::ShutdownReport;
use crate::util::log::to_stderr;
use crate::util::side_thread::run_within_a_second;

/// Returns the exit code of a program whose `main` has succeeded, and says on stderr why it is not 0.
pub(super) fn judge(policies: &Registry, report: &ShutdownReport) -> i32 {
    let Some(why) = failures(policies, report) else {
        return 0;
    };
    // Stderr may be a pipe that nobody reads.
    run_within_a_second(move || to_stderr(format_args!("exit code 1, because of `strict`: {why}")));
    1
}

/// Returns everything that fails a strict program.
fn failures(policies: &Registry, report: &ShutdownReport) -> Option<String> {
    // The jobs among them are back in their queues.
    let jobs = report
        .stragglers
        .iter()
        .filter(|straggler| straggler.is_job);
    let late = report.straggler_count - jobs.count() as u64;
    let never_started = policies.never_started().len() as u64;
    let counted = [
        (late, "task", "did not finish before the deadline"),
        (
            policies.missing_state.get(),
            "call",
            "refused, because a state was not provided",
        ),
        (
            never_started,
            "function",
            "never started, because a state was not provided",
        ),
        (
            policies.unseen_failures.get(),
            "failure",
            "that no code read from a handle",
        ),
    ];
    let parts: Vec<_> = counted
        .into_iter()
        .filter(|(count, _, _)| *count > 0)
        .map(|(count, what, how)| {
            let plural = if count == 1 { "" } else { "s" };
            format!("{count} {what}{plural} {how}")
        })
        .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}
