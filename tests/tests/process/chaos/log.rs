//! The log of a process: its calls, with what is known of each, and the report. Knows nothing of the plan.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The log of the process.
#[derive(Default)]
pub(crate) struct Log {
    /// The calls by their number.
    pub(crate) calls: BTreeMap<u64, Call>,
    pub(crate) main_started: bool,
    /// When the shutdown had been requested.
    pub(crate) requested: Option<Duration>,
    /// Whether the tokens of tasks have fired.
    pub(crate) drains: bool,
    pub(crate) report: Option<Report>,
    pub(crate) after_report: Vec<String>,
}

/// The records of one call.
#[derive(Default)]
pub(crate) struct Call {
    pub(crate) kind: String,
    pub(crate) called: bool,
    pub(crate) called_after_report: bool,
    pub(crate) returned_before_report: bool,
    /// Its handle may have ended it.
    pub(crate) killed: bool,
    pub(crate) handle: Option<String>,
    pub(crate) starts: u32,
    pub(crate) starts_after_success: bool,
    pub(crate) ends: u32,
    /// How the body of its last ended attempt ended.
    pub(crate) end: Option<String>,
    /// It ended after the tokens had fired.
    pub(crate) ended_in_drain: bool,
}

#[derive(Default)]
pub(crate) struct Report {
    pub(crate) at: Duration,
    pub(crate) text: String,
    /// The runs that schedules have started.
    pub(crate) runs: u64,
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
    pub(crate) coalesced: u64,
    pub(crate) running: u64,
    pub(crate) outcomes: [u64; 7],
}

impl Log {
    pub(crate) fn read(text: &str) -> Self {
        let mut log = Self::default();
        for line in text.lines() {
            log.add(line)
                .unwrap_or_else(|| panic!("a line of the log: {line:?}"));
        }
        log
    }

    pub(crate) fn add(&mut self, line: &str) -> Option<()> {
        let (at, rest) = line.split_once(' ')?;
        let at = Duration::from_micros(at.parse().ok()?);
        let (letter, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let mut words = rest.split(' ');
        let is_over = self
            .report
            .as_ref()
            .is_some_and(|report| report.at > Duration::ZERO);
        // The process reads the totals between these two.
        let has_report = self.report.is_some();
        match letter {
            "M" => self.main_started = true,
            "Q" => self.requested = Some(at),
            "W" => self.drains = true,
            "X" => {
                let report = self.report.get_or_insert_default();
                report.text = rest.to_owned();
            }
            "S" => {
                let mut numbers = words.map(|word| word.parse::<u64>().ok());
                let mut next = || numbers.next().flatten();
                let report = self.report.get_or_insert_default();
                report.at = at;
                report.runs = next()?;
                report.accepted = next()?;
                report.refused = next()?;
                report.coalesced = next()?;
                report.running = next()?;
                for outcome in &mut report.outcomes {
                    *outcome = next()?;
                }
            }
            _ => {
                let drains = self.drains;
                let call = self.calls.entry(words.next()?.parse().ok()?).or_default();
                match letter {
                    "C" => {
                        call.kind = words.next()?.to_owned();
                        call.called = true;
                        call.called_after_report = is_over;
                    }
                    "Z" => {
                        call.kind = "Scheduled".to_owned();
                        call.returned_before_report = !has_report;
                    }
                    "A" => call.returned_before_report = !has_report,
                    "K" => call.killed = true,
                    "H" => call.handle = Some(words.next()?.to_owned()),
                    "B" if is_over => self.after_report.push(line.to_owned()),
                    "B" => {
                        call.starts += 1;
                        call.starts_after_success |= call.end.as_deref() == Some("ok");
                    }
                    "E" if is_over => self.after_report.push(line.to_owned()),
                    "E" => {
                        call.ends += 1;
                        call.end = Some(words.next()?.to_owned());
                        call.ended_in_drain = drains;
                    }
                    _ => return None,
                }
            }
        }
        Some(())
    }
}

impl Report {
    /// Returns the number before a word of the line.
    pub(crate) fn number_before(&self, word: &str) -> Option<f64> {
        let (before, _) = self.text.split_once(word)?;
        before.rsplit([' ', '(']).next()?.parse().ok()
    }

    pub(crate) fn elapsed(&self) -> Option<Duration> {
        let (_, rest) = self.text.split_once(") took ")?;
        seconds(rest)
    }

    pub(crate) fn grace(&self) -> Option<Duration> {
        let (_, rest) = self.text.split_once(" s of ")?;
        seconds(rest)
    }
}

pub(crate) fn seconds(text: &str) -> Option<Duration> {
    let seconds = text.split(' ').next()?.parse().ok()?;
    Some(Duration::from_secs_f64(seconds))
}

impl Call {
    pub(crate) fn tries_again(&self) -> bool {
        self.kind.starts_with("TriesAgain")
    }

    pub(crate) fn is_coalesced(&self) -> bool {
        matches!(&*self.kind, "Joins" | "Skips" | "Replaces" | "Trails")
    }

    /// Returns whether it may wait for a policy, or be cancelled by the drain, before its body starts.
    pub(crate) fn may_be_held_back(&self) -> bool {
        matches!(
            &*self.kind,
            "AtARate" | "OneAtATime" | "OneAtATimeBlocking" | "IsCancelled"
        )
    }

    /// Returns the outcomes that fit the records of the call, or an error if none does.
    pub(crate) fn possible_outcomes(
        &self,
        is_expired: bool,
    ) -> Result<BTreeSet<&'static str>, &'static str> {
        let may_be_stopped = is_expired || self.killed;
        let mut outcomes = BTreeSet::new();
        if self.starts == 0 {
            // Its handle, the deadline or a policy may end a call that has not started.
            let mut ends = BTreeSet::from(["none"]);
            if may_be_stopped {
                ends.extend(["aborted", "cancelled"]);
            }
            if self.is_coalesced() || self.may_be_held_back() {
                ends.insert("cancelled");
            }
            let by_handle: &[_] = match self.handle.as_deref() {
                Some("shut_down" | "skipped") => &["none"],
                // Refused at the call, or dropped from the queue later.
                Some("refused") => &["none", "cancelled"],
                Some("cancelled" | "replaced") => &["cancelled", "none"],
                Some("aborted") => &["aborted", "none"],
                Some(_) if self.is_coalesced() => &["none"],
                Some(_) => return Err("its handle has an outcome, and its body never started"),
                None => &["none", "cancelled", "aborted"],
            };
            outcomes.extend(by_handle.iter().filter(|outcome| ends.contains(*outcome)));
            // Only a refused call, or one that shares the run of another, has no outcome.
            let shares = self.is_coalesced() || self.handle.is_none();
            if matches!(
                self.handle.as_deref(),
                Some("cancelled" | "aborted" | "replaced")
            ) && !shares
            {
                outcomes.remove("none");
            }
            return if outcomes.is_empty() {
                Err("it never started, and no record explains it")
            } else {
                Ok(outcomes)
            };
        }
        if let Some("shut_down" | "refused" | "skipped") = self.handle.as_deref() {
            return Err("it was refused and started");
        }
        match self.end.as_deref() {
            None if may_be_stopped => outcomes.extend(["abandoned", "aborted"]),
            None => {
                return Err(
                    "it had started and not ended at the report, which states that all had ended",
                );
            }
            Some("ok") if self.kind == "RunsOutOfTimeBlocking" => {
                // Its token may also fire with the drain.
                outcomes.extend(["timed out", "succeeded"]);
            }
            Some("ok") => outcomes.extend(["succeeded"]),
            Some("err") => outcomes.extend(["failed"]),
            Some("panic") => outcomes.extend(["panicked"]),
            Some(_) => match &*self.kind {
                "RunsOutOfTime" => outcomes.extend(["timed out"]),
                "IsCancelled" | "Replaces" => outcomes.extend(["cancelled"]),
                _ if may_be_stopped => {}
                _ => return Err("its body was dropped, and no record explains it"),
            },
        }
        if may_be_stopped {
            outcomes.extend(["aborted", "abandoned", "cancelled"]);
        }
        Ok(outcomes)
    }

    /// Returns whether the outcome of its handle fits the end of its body.
    pub(crate) fn handle_agrees(&self) -> bool {
        let (Some(handle), false) = (self.handle.as_deref(), self.is_coalesced()) else {
            return true;
        };
        match handle {
            "ok" | "err" | "panic" => self.end.as_deref() == Some(handle),
            "timed_out" => self.kind.starts_with("RunsOutOfTime"),
            _ => true,
        }
    }
}
