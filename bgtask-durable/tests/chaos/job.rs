//! What has to be true of one job after a round, sentence by sentence. Plain data; must never know a process or a database.

use super::check::{Evidence, has_ended, is_failure, is_rescue};
use super::database::{Change, Row, Side};
use super::ledger::{Asked, Run};
use super::plan::{CRASH_LIMIT, Kind, Plain};
use std::collections::{BTreeMap, BTreeSet};

/// Returns whether a job may go from one state to another.
fn is_legal(old: &str, new: &str) -> bool {
    match old {
        "available" => matches!(new, "running" | "cancelled"),
        "scheduled" | "retryable" | "pending" => matches!(new, "available" | "cancelled"),
        "running" => true,
        "discarded" | "cancelled" => new == "available",
        _ => false,
    }
}

/// What is known of one job.
pub(crate) struct Job<'a> {
    evidence: &'a Evidence<'a>,
    id: i64,
    row: Option<&'a Row>,
    changes: Vec<&'a Change>,
    runs: BTreeMap<&'a str, &'a Run>,
}

impl<'a> Job<'a> {
    pub(crate) fn new(evidence: &'a Evidence<'a>, id: i64) -> Self {
        let runs = evidence.ledger.runs.iter();
        Self {
            evidence,
            id,
            row: evidence.rows.iter().find(|row| row.id == id),
            changes: evidence
                .changes
                .iter()
                .filter(|change| change.job == id)
                .collect(),
            runs: runs
                .filter(|(_, run)| run.job == id)
                .map(|(name, run)| (&**name, run))
                .collect(),
        }
    }

    fn was_asked(&self, asked: Asked) -> bool {
        self.evidence.ledger.was_asked(self.id, asked)
    }

    /// The changes that are no insert and no delete.
    fn updates(&self) -> impl Iterator<Item = (&'a Side, &'a Side)> {
        let changes = self.changes.iter();
        changes.filter_map(|change| Some((change.old.as_ref()?, change.new.as_ref()?)))
    }

    /// Returns what is wrong.
    pub(crate) fn check(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        self.check_end(&mut wrong);
        self.check_changes(&mut wrong);
        self.check_runs(&mut wrong);
        self.check_attempts(&mut wrong);
        self.check_outcomes(&mut wrong);
        if let Some(row) = self.row {
            self.check_kind(row, &mut wrong);
            self.check_errors(row, &mut wrong);
        }
        wrong
    }

    /// Every stored job ends, and its end is recorded once.
    fn check_end(&self, wrong: &mut Vec<String>) {
        let is_deleted = self
            .changes
            .last()
            .is_some_and(|change| change.new.is_none());
        if is_deleted && !self.was_asked(Asked::Delete) {
            wrong.push("it was deleted, and nobody asked for it".to_owned());
        }
        let Some(row) = self.row else {
            if !is_deleted && !self.changes.is_empty() {
                wrong.push("it is lost".to_owned());
            }
            return;
        };
        if !has_ended(&row.state) && self.evidence.looked_at.contains(&self.id) {
            wrong.push(format!("it has not ended: {}", row.state));
        }
        let ends = self
            .updates()
            .filter(|(_, new)| has_ended(&new.state))
            .count();
        let again = self
            .updates()
            .filter(|(old, _)| has_ended(&old.state))
            .count();
        if has_ended(&row.state) && ends != again + 1 {
            wrong.push(format!(
                "it has {ends} ends, and was tried again {again} times"
            ));
        }
        if again > 0 && !self.was_asked(Asked::Retry) {
            wrong.push("it was tried again after its end, and nobody asked for it".to_owned());
        }
        if row.state == "cancelled" && !self.was_asked(Asked::Cancel) {
            wrong.push("it is cancelled, and nobody asked for it".to_owned());
        }
    }

    fn check_changes(&self, wrong: &mut Vec<String>) {
        if self
            .changes
            .first()
            .is_some_and(|first| first.old.is_some())
        {
            wrong.push("it changed before it was stored".to_owned());
        }
        for pair in self.changes.windows(2) {
            let (before, after) = (pair[0].new.as_ref(), pair[1].old.as_ref());
            if before.map(|side| &side.state) != after.map(|side| &side.state) {
                wrong.push(format!(
                    "between two changes it went from {before:?} to {after:?}"
                ));
            }
        }
        for change in &self.changes {
            let (Some(old), Some(new)) = (&change.old, &change.new) else {
                if change
                    .old
                    .as_ref()
                    .is_some_and(|old| old.state == "running")
                {
                    wrong.push("it was deleted while it ran".to_owned());
                }
                continue;
            };
            if old.state == new.state {
                wrong.push(format!(
                    "an end or an attempt changed while it stayed {}",
                    old.state
                ));
            } else if !is_legal(&old.state, &new.state) {
                wrong.push(format!("it went from {} to {}", old.state, new.state));
            }
            // The engine's claim changes no metadata.
            if new.version < old.version || (new.version == old.version && new.state != "running") {
                wrong.push(format!(
                    "its version went from {} to {}: {} to {}",
                    old.version, new.version, old.state, new.state
                ));
            }
            if change.is_output && new.state != "completed" {
                wrong.push(format!("its output changed when it went to {}", new.state));
            }
        }
    }

    /// Attempts are counted when they begin; those that a crash or a shutdown took are given back.
    fn check_attempts(&self, wrong: &mut Vec<String>) {
        let max_attempts = self.row.map(|row| row.max_attempts);
        let mut failures = 0;
        for (old, new) in self.updates() {
            let counts = match (&*old.state, &*new.state) {
                ("available", "running") => vec![old.attempt + 1],
                ("running", "completed" | "retryable") => vec![old.attempt],
                ("running", "discarded") if is_rescue(old, new) => {
                    vec![old.attempt.saturating_sub(1)]
                }
                ("running", "discarded") => vec![old.attempt],
                // Whatever it was about to be, the cancellation came before.
                ("running", "cancelled") => vec![old.attempt, old.attempt.saturating_sub(1)],
                ("running", _) => vec![old.attempt.saturating_sub(1)],
                ("discarded" | "cancelled", _) => vec![0],
                _ => vec![old.attempt],
            };
            if !counts.contains(&new.attempt) {
                wrong.push(format!(
                    "its attempts went from {} to {} when it went from {} to {}",
                    old.attempt, new.attempt, old.state, new.state
                ));
            }
            failures += u32::from(is_failure(old, new));
            if has_ended(&old.state) {
                failures = 0;
            } else if is_rescue(old, new)
                && (old.state != "running" || new.crashes != old.crashes + 1)
            {
                wrong.push(format!(
                    "its crashes went from {} to {}",
                    old.crashes, new.crashes
                ));
            }
            if max_attempts.is_some_and(|max| failures > max) {
                wrong.push(format!(
                    "it failed {failures} times, and may fail {max_attempts:?} times"
                ));
            }
            if new.crashes > CRASH_LIMIT || (new.crashes == CRASH_LIMIT && !has_ended(&new.state)) {
                wrong.push(format!("it lives on after {} crashes", new.crashes));
            }
        }
    }

    /// Only stored jobs run, each claim once; and only the run that holds the job ends it.
    fn check_runs(&self, wrong: &mut Vec<String>) {
        let number = self.evidence.number(self.id);
        if let Some((name, run)) = self.runs.iter().find(|(_, run)| Some(run.number) != number) {
            wrong.push(format!(
                "{name} ran number {}, and what is stored is {number:?}",
                run.number
            ));
        }
        let mut claims: BTreeMap<u32, usize> = BTreeMap::new();
        for (_, new) in self.updates().filter(|(_, new)| new.state == "running") {
            *claims.entry(new.process.unwrap_or(0)).or_default() += 1;
        }
        for (process, claims) in &claims {
            let runs = self
                .runs
                .values()
                .filter(|run| run.process == *process)
                .count();
            if runs > *claims {
                wrong.push(format!(
                    "process {process} claimed it {claims} times, and ran it {runs} times"
                ));
            }
        }
        if let Some(run) = self
            .runs
            .values()
            .find(|run| !claims.contains_key(&run.process))
        {
            wrong.push(format!(
                "process {} ran it, and never claimed it",
                run.process
            ));
        }
        let Some(row) = self.row.filter(|row| row.state == "completed") else {
            return;
        };
        let last = self
            .updates()
            .filter(|(_, new)| new.state == "completed")
            .last();
        let holder = last.and_then(|(old, _)| old.process);
        let run = row.run.as_deref().and_then(|run| self.runs.get(run));
        let Some(run) = run else {
            wrong.push(format!(
                "its value is that of {:?}, which is no run of it",
                row.run
            ));
            return;
        };
        let has_value = match number.and_then(|number| self.evidence.kind(number)) {
            Some(Kind::Completes(_)) => run.commits,
            _ => run.end.as_deref() == Some("ok"),
        };
        if !has_value {
            wrong.push(format!(
                "its value is that of {:?}, which did not end so: {run:?}",
                row.run
            ));
        }
        if holder != Some(run.process) {
            wrong.push(format!(
                "its value is that of process {}, and {holder:?} held it",
                run.process
            ));
        }
    }

    /// Each recorded error is that of one run, and each run has one at most.
    fn check_errors(&self, row: &Row, wrong: &mut Vec<String>) {
        let mut seen = BTreeSet::new();
        for error in &row.errors {
            let Some((_, run)) = error.split_once("run=") else {
                continue;
            };
            let run = run.split([' ', '"', '\'']).next().unwrap_or_default();
            let is_failed = self
                .runs
                .get(run)
                .is_some_and(|run| matches!(run.end.as_deref(), Some("err" | "panic")));
            if !is_failed {
                wrong.push(format!(
                    "the error of {run:?} is recorded, and no run of it failed so"
                ));
            }
            if !seen.insert(run.to_owned()) {
                wrong.push(format!("the error of {run:?} is recorded twice"));
            }
        }
    }

    /// A job of each kind may end only so.
    fn check_kind(&self, row: &Row, wrong: &mut Vec<String>) {
        if row.state == "cancelled" || !has_ended(&row.state) {
            return;
        }
        if row.attempt > row.max_attempts || row.crashes > CRASH_LIMIT {
            wrong.push(format!(
                "it has {} attempts of {} and {} crashes",
                row.attempt, row.max_attempts, row.crashes
            ));
        }
        if row.state == "discarded" && row.failure == "crashed" {
            if row.crashes < CRASH_LIMIT {
                wrong.push(format!("it is dead after {} crashes", row.crashes));
            }
            return;
        }
        let is_done = row.state == "completed";
        // A token that fires because of a cancellation fails the attempt, also if another one follows by then.
        let may_be_cancelled = self.was_asked(Asked::Cancel);
        let is_right = match self.evidence.kind(row.number) {
            Some(Kind::Plain(what)) => match what {
                Plain::Fails | Plain::NulError | Plain::NulOutput | Plain::TooLarge => {
                    !is_done && row.failure == "failed"
                }
                Plain::Panics => !is_done && row.failure == "panicked",
                Plain::Long(_) => is_done || may_be_cancelled,
                _ => is_done,
            },
            // On a machine that is slow enough, all attempts of the one time out, and the others have no database.
            Some(Kind::TimesOut(_)) => is_done || row.failure == "timed_out",
            Some(Kind::Completes(_) | Kind::Parent(_)) => {
                is_done || row.attempt == row.max_attempts
            }
            _ => is_done,
        };
        if !is_right {
            wrong.push(format!("a job of its kind does not end so: {row:?}"));
        }
    }

    /// Every process reads the same outcome, and it is that of the row.
    fn check_outcomes(&self, wrong: &mut Vec<String>) {
        let outcomes = self
            .evidence
            .ledger
            .outcomes
            .iter()
            .filter(|(id, ..)| *id == self.id);
        for (_, process, outcome) in outcomes {
            let mut words = outcome.split(' ');
            let (kind, detail) = (words.next().unwrap_or_default(), words.next());
            let is_right = match self.row.map(|row| (&*row.state, row)) {
                None => kind == "gone",
                Some(("completed", row)) => kind == "done" && detail == row.run.as_deref(),
                Some(("discarded", row)) => {
                    kind == "dead" && detail == Some(&*row.attempt.to_string())
                }
                Some((state, _)) => kind == state,
            };
            if !is_right {
                wrong.push(format!(
                    "process {process} read the outcome {outcome:?}, and the row is {:?}",
                    self.row
                ));
            }
        }
    }
}
