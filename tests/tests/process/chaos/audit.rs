//! The comparison of a process's log with bgtask's report, and of both with the plan.

use crate::log::{Log, Report};
use bgtask_tests::chaos::{GRACE_AT_START, MainEnd, Plan, Requester};
use bgtask_tests::process::Ended;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

/// How long a shutdown waits for aborts after the deadline, as documented.
pub(crate) const ABORT_WAIT: Duration = Duration::from_secs(1);

/// How long printing the report may take, as documented.
pub(crate) const PRINT_WAIT: Duration = Duration::from_secs(1);

/// How late a process may be beyond that, by its own clock. An idle process takes a few milliseconds; on a busy machine, one of
/// its threads may get no processor for a second or two.
pub(crate) const MARGIN: Duration = Duration::from_secs(4);

/// The outcomes of the totals, in the order of the log.
pub(crate) const OUTCOMES: [&str; 7] = [
    "succeeded",
    "failed",
    "panicked",
    "timed out",
    "cancelled",
    "aborted",
    "abandoned",
];

/// Compares the log with bgtask's report, and both with the plan.
pub(crate) struct Audit<'a> {
    pub(crate) plan: &'a Plan,
    /// The exit codes of the sent signals.
    pub(crate) sent: Vec<i32>,
    pub(crate) ended: &'a Ended,
    pub(crate) lived: Duration,
    pub(crate) log: Log,
    pub(crate) wrong: Vec<String>,
    pub(crate) seen: Vec<&'static str>,
}

impl Audit<'_> {
    pub(crate) fn run(&mut self) {
        if let Some(signal) = self.ended.status.signal() {
            // It arrived before its handler was installed.
            if self.log.main_started || self.plan.signals[0].after.is_some() {
                self.wrong.push(format!(
                    "killed by signal {signal} although a handler was installed"
                ));
            }
            self.seen.push("killed while it started");
            return;
        }
        self.check_code();
        self.check_each_call();
        let report = self.log.report.take();
        match report.filter(|report| report.at > Duration::ZERO) {
            Some(report) => self.check_report(&report),
            None => self.check_without_report(),
        }
    }

    pub(crate) fn has_printed(&self, text: &str) -> bool {
        let report = self.log.report.as_ref();
        self.ended.stderr.contains(text) || report.is_some_and(|report| report.text.contains(text))
    }

    /// Returns whether the report may be missing: the process waits a second for its printing, and on a busy machine the thread
    /// that prints it may get no processor within that.
    pub(crate) fn report_may_be_lost(&self) -> bool {
        let requested = self.log.requested.unwrap_or_default();
        let grace = self.plan.grace.min(GRACE_AT_START);
        self.log.report.is_none() && self.lived > requested + grace + PRINT_WAIT
    }

    pub(crate) fn check_code(&mut self) {
        let plan = self.plan;
        let mut may_be = BTreeSet::new();
        if plan.has_to_leave() && self.sent.len() == 2 && self.log.requested.is_some() {
            // The remaining work would not have ended without the second signal.
            may_be.insert(self.sent[1]);
            self.seen.push("a second signal that had to end it");
        } else {
            let by_itself = plan.requester == Requester::Nobody;
            if plan.takes_token || by_itself {
                may_be.insert(plan.main_end.code());
            }
            let is_asked = !by_itself || !self.sent.is_empty();
            if !plan.takes_token && is_asked {
                may_be.insert(0);
            }
            if plan.requester == Requester::Essential
                && self.has_printed("shutdown (the essential task")
            {
                may_be = may_be
                    .iter()
                    .map(|&code| if code == 0 { 1 } else { code })
                    .collect();
            }
            if self.has_printed("main did not end before the deadline") {
                if plan.main_end != MainEnd::Never && !plan.is_stubborn && !self.has_short_grace() {
                    self.wrong.push("main was late without a reason".to_owned());
                }
                may_be.insert(1);
            }
            if self.report_may_be_lost() {
                // The lines about a late or blocked `main` are missing with it.
                may_be.insert(1);
                may_be.extend(&self.sent);
            }
            if self.has_printed("the main thread is stuck") {
                if !plan.never_yields {
                    self.seen.push("main thread blocked without a reason");
                }
                may_be.insert(1);
                may_be.extend(&self.sent);
            }
            if self.sent.len() == 2
                || (plan.requester != Requester::Signal && !self.sent.is_empty())
            {
                self.seen.push("a second signal");
                if self.sent.len() == 2 {
                    // Two signals sent together may arrive in either order.
                    may_be.extend(&self.sent);
                }
            }
        }
        let code = self.ended.status.code();
        if !code.is_some_and(|code| may_be.contains(&code)) {
            self.wrong
                .push(format!("exit code {code:?}, not one of {may_be:?}"));
        }
    }

    /// Returns whether the shutdown was requested before `main` could set its own grace period.
    pub(crate) fn has_short_grace(&self) -> bool {
        let report = self.log.report.as_ref();
        report.and_then(Report::grace) == Some(GRACE_AT_START)
    }

    pub(crate) fn check_each_call(&mut self) {
        for (n, call) in &self.log.calls {
            let most = if call.tries_again() { 3 } else { 1 };
            if call.starts > most {
                self.wrong
                    .push(format!("{n} ({}) started {} times", call.kind, call.starts));
            }
            if call.starts_after_success {
                let wrong = format!("{n} ({}) started again after its success", call.kind);
                self.wrong.push(wrong);
            }
            if call.ends > call.starts {
                self.wrong.push(format!(
                    "{n} ({}) ended more often than it started",
                    call.kind
                ));
            }
            if call.called_after_report
                && let Some(handle) = &call.handle
                && handle != "shut_down"
            {
                let wrong =
                    format!("{n} was called after the report, and its handle ended with {handle}");
                self.wrong.push(wrong);
            }
            if !call.handle_agrees() {
                let wrong = format!(
                    "{n} ({}): its body ended with {:?}, its handle with {:?}",
                    call.kind, call.end, call.handle
                );
                self.wrong.push(wrong);
            }
        }
    }

    pub(crate) fn check_without_report(&mut self) {
        let left_by_a_signal = self
            .ended
            .status
            .code()
            .is_some_and(|code| self.sent.contains(&code));
        let is_on_stderr = self.ended.stderr.contains("bgtask: shutdown (");
        if !left_by_a_signal && !is_on_stderr {
            if self.report_may_be_lost() {
                self.seen.push("no processor for the report");
                return;
            }
            self.wrong.push("no report".to_owned());
        }
        self.seen.push("no report");
    }

    pub(crate) fn check_report(&mut self, report: &Report) {
        self.seen.push("a report");
        let (Some(elapsed), Some(grace), Some(drained), Some(late)) = (
            report.elapsed(),
            report.grace(),
            report.number_before(" drained"),
            report.number_before(" did not finish"),
        ) else {
            self.wrong
                .push(format!("a report of another form: {}", report.text));
            return;
        };
        let (drained, late) = (drained as u64, late as u64);
        let is_expired = late > 0;
        self.seen.push(if is_expired {
            "some did not end in time"
        } else {
            "all ended in time"
        });

        // After the report no body starts, and only an abandoned one ends.
        let abandoned = report.outcomes[6];
        for line in &self.log.after_report {
            if line.contains(" B ") || abandoned == 0 {
                self.wrong.push(format!("after the report: {line}"));
            }
        }

        self.check_totals(report, is_expired);
        self.check_drained(drained, late, is_expired);

        // Times are by the clock of the process.
        let allowed = grace + ABORT_WAIT + MARGIN;
        if elapsed > allowed {
            self.wrong
                .push(format!("the shutdown took {elapsed:?} of {grace:?}"));
        }
        if let Some(requested) = self.log.requested
            && report.at.saturating_sub(requested) > allowed
        {
            let wrong = format!(
                "the report came {:?} after the request",
                report.at - requested
            );
            self.wrong.push(wrong);
        }
        if is_expired && elapsed + Duration::from_millis(100) < grace {
            self.wrong
                .push(format!("given up after {elapsed:?} of {grace:?}"));
        }
        if is_expired && grace > Duration::from_secs(1) {
            self.wrong
                .push(format!("not ended within {grace:?}: {}", report.text));
        }
    }

    pub(crate) fn check_totals(&mut self, report: &Report, is_expired: bool) {
        let ended: u64 = report.outcomes.iter().sum();
        if report.running != 0 || report.accepted != ended {
            self.wrong.push(format!(
                "accepted {} = {} running + {ended} ended: {:?}",
                report.accepted, report.running, report.outcomes
            ));
        }
        // Calls made at this moment may or may not be counted. Schedules count their runs before they make them.
        let (mut returned, mut called) = (0, report.runs);
        for call in self.log.calls.values() {
            returned += u64::from(call.returned_before_report);
            called += u64::from(call.called && !call.called_after_report);
        }
        let counted = report.accepted + report.refused + report.coalesced;
        if !(returned..=called).contains(&counted) {
            self.wrong.push(format!(
                "{returned} to {called} calls were made; {counted} are counted: {} accepted, {} refused, {} coalesced",
                report.accepted, report.refused, report.coalesced
            ));
        }
        if report.refused > 0 {
            self.seen.push("calls refused");
        }
        if report.coalesced > 0 {
            self.seen.push("calls coalesced");
        }

        let mut at_least = BTreeMap::<&str, u64>::new();
        let mut at_most = BTreeMap::<&str, u64>::new();
        for (n, call) in &self.log.calls {
            match call.possible_outcomes(is_expired) {
                Ok(outcomes) => {
                    if let (1, Some(only)) = (outcomes.len(), outcomes.first()) {
                        *at_least.entry(only).or_default() += 1;
                    }
                    for outcome in outcomes {
                        *at_most.entry(outcome).or_default() += 1;
                    }
                }
                Err(wrong) => self.wrong.push(format!(
                    "{n} ({}, {:?}, handle {:?}): {wrong}",
                    call.kind, call.end, call.handle
                )),
            }
        }
        // A scheduled run that ended before it started is in no other record.
        let unseen_runs = report.runs;
        for (outcome, count) in OUTCOMES.iter().zip(report.outcomes) {
            let least = at_least.get(outcome).copied().unwrap_or(0);
            let mut most = at_most.get(outcome).copied().unwrap_or(0);
            if matches!(*outcome, "cancelled" | "aborted") {
                most += unseen_runs;
            }
            if !(least..=most).contains(&count) {
                self.wrong.push(format!(
                    "{count} are counted as {outcome}; they were {least} to {most}"
                ));
            }
        }
    }

    /// Checks that a call that ran when the tokens fired was drained or named.
    pub(crate) fn check_drained(&mut self, drained: u64, late: u64, is_expired: bool) {
        let started = || self.log.calls.values().filter(|call| call.starts > 0);
        let open = started()
            .filter(|call| call.end.is_none() && !call.killed)
            .count() as u64;
        // A blocking function that was aborted earlier is counted from then on, and may end long after.
        let in_drain = started()
            .filter(|call| call.ended_in_drain && !call.killed)
            .count() as u64;
        if is_expired && late < open {
            self.wrong
                .push(format!("{open} had not ended, {late} are named"));
        }
        if drained + late < open + in_drain {
            self.wrong.push(format!(
                "{in_drain} ended while it drained and {open} did not end; the report has {drained} and {late}"
            ));
        }
    }
}
