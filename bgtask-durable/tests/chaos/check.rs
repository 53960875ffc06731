//! The invariants of a round: compares the ledger of the processes with the records of the database. Plain data; must never know
//! a process or a database.

use super::database::{Change, Row, Side};
use super::job::Job;
use super::ledger::Ledger;
use super::plan::{CHILD, Kind, Plan};
use std::collections::{BTreeMap, BTreeSet};

/// All that is known of a round.
#[derive(Clone, Debug)]
pub(crate) struct Evidence<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) ledger: Ledger,
    pub(crate) changes: Vec<Change>,
    pub(crate) rows: Vec<Row>,
    /// How often each number stands in the table of the program.
    pub(crate) bookings: BTreeMap<u32, usize>,
    /// The jobs that were there when all had ended.
    pub(crate) looked_at: Vec<i64>,
    /// How the processes ended that were terminated at last.
    pub(crate) ended: Vec<String>,
}

/// The violations, each with its job.
pub(crate) type Wrong = Vec<(Option<i64>, String)>;

pub(crate) fn has_ended(state: &str) -> bool {
    matches!(state, "completed" | "discarded" | "cancelled")
}

/// Whether a change is the end of an attempt that failed.
pub(crate) fn is_failure(old: &Side, new: &Side) -> bool {
    old.state == "running" && new.errors > old.errors && new.crashes == old.crashes
}

/// Whether a change takes a job from a process that was found dead.
pub(crate) fn is_rescue(old: &Side, new: &Side) -> bool {
    new.crashes > old.crashes
}

impl Evidence<'_> {
    /// Returns what is wrong.
    pub(crate) fn check(&self) -> Wrong {
        let mut wrong = Wrong::new();
        let mut ids: BTreeSet<i64> = self.changes.iter().map(|change| change.job).collect();
        ids.extend(self.rows.iter().map(|row| row.id));
        ids.extend(self.ledger.runs.values().map(|run| run.job));
        for id in ids {
            let job = Job::new(self, id);
            wrong.extend(job.check().into_iter().map(|what| (Some(id), what)));
        }
        self.check_stores(&mut wrong);
        self.check_keys(&mut wrong);
        self.check_bookings(&mut wrong);
        for ended in &self.ended {
            if ended != "exit status: 0" {
                wrong.push((None, format!("a process without work ended with {ended}")));
            }
        }
        wrong
    }

    pub(crate) fn number(&self, id: i64) -> Option<u32> {
        let change = self.changes.iter().find(|change| change.job == id);
        change.map(|change| change.number)
    }

    pub(crate) fn kind(&self, number: u32) -> Option<Kind> {
        let job = self.plan.jobs().find(|job| job.number == number);
        job.map(|job| job.kind)
    }

    /// The jobs with this number that were ever there.
    fn inserted(&self, number: u32) -> Vec<i64> {
        let inserts = self.changes.iter().filter(|change| change.old.is_none());
        inserts
            .filter(|change| change.number == number)
            .map(|change| change.job)
            .collect()
    }

    fn check_stores(&self, wrong: &mut Wrong) {
        for (number, stores) in &self.ledger.stores {
            let inserted = self.inserted(*number);
            for id in &stores.ids {
                if !inserted.contains(id) {
                    wrong.push((
                        Some(*id),
                        format!("number {number} was stored as {id}, and is not there"),
                    ));
                }
            }
            let known = stores.refused + stores.duplicates.len() + stores.ids.len();
            // Of a try that has no answer, nobody knows.
            let most = stores.ids.len() + (stores.tries - known);
            if inserted.len() > most {
                wrong.push((
                    inserted.last().copied(),
                    format!(
                        "number {number} is there as {inserted:?}, and its tries are {stores:?}"
                    ),
                ));
            }
            for id in &stores.duplicates {
                let of_first = self.number(*id).and_then(|number| self.kind(number));
                if !matches!(of_first, Some(Kind::Keyed(_))) || of_first != self.kind(*number) {
                    wrong.push((
                        Some(*id),
                        format!("number {number} is no duplicate of {id}, which is {of_first:?}"),
                    ));
                }
            }
        }
        for batch in self.plan.batches() {
            let counts: BTreeSet<usize> = batch
                .iter()
                .map(|number| self.inserted(*number).len())
                .collect();
            if counts.len() > 1 {
                wrong.push((
                    None,
                    format!("of the numbers {batch:?} some are stored and some are not"),
                ));
            }
        }
    }

    /// Of jobs with one key, at most one has not ended at any moment.
    fn check_keys(&self, wrong: &mut Wrong) {
        let mut live: BTreeMap<u8, BTreeSet<i64>> = BTreeMap::new();
        for change in &self.changes {
            let Some(Kind::Keyed(key)) = self.kind(change.number) else {
                continue;
            };
            let live = live.entry(key).or_default();
            match &change.new {
                Some(new) if !has_ended(&new.state) => live.insert(change.job),
                _ => live.remove(&change.job),
            };
            if live.len() > 1 {
                wrong.push((
                    Some(change.job),
                    format!("the jobs {live:?} of key {key} live at once"),
                ));
            }
        }
    }

    /// A row of the program is there if, and only if, the job is that wrote it in the same transaction.
    fn check_bookings(&self, wrong: &mut Wrong) {
        for planned in self.plan.jobs() {
            let number = planned.number;
            let found = self.bookings.get(&number).copied().unwrap_or(0);
            let expected = match planned.kind {
                Kind::Completes(_) => {
                    let is_done = |change: &&Change| {
                        change.number == number
                            && change
                                .new
                                .as_ref()
                                .is_some_and(|new| new.state == "completed")
                    };
                    self.changes.iter().filter(is_done).count()
                }
                Kind::Parent(_) => self.inserted(number + CHILD).len(),
                _ => 0,
            };
            if found != expected {
                let job = self.inserted(number).last().copied();
                wrong.push((job, format!("number {number} has {found} rows of the program, and {expected} ends or children")));
            }
        }
    }

    /// Counts the jobs of a round by state, and how they left a state.
    pub(crate) fn summary(&self) -> String {
        let states = |state| self.rows.iter().filter(|row| row.state == state).count();
        let mut counts = [0; 4];
        for change in &self.changes {
            if let (Some(old), Some(new)) = (&change.old, &change.new) {
                let is_back = old.state == "running" && !has_ended(&new.state);
                counts[0] += usize::from(is_rescue(old, new));
                counts[1] += usize::from(is_failure(old, new));
                counts[2] += usize::from(is_back && !is_rescue(old, new) && !is_failure(old, new));
                counts[3] += usize::from(has_ended(&old.state));
            }
        }
        format!(
            "{} jobs: {} done, {} dead, {} cancelled, {} runs; {} rescues, {} failures, {} returns, {} ended jobs tried again",
            self.rows.len(),
            states("completed"),
            states("discarded"),
            states("cancelled"),
            self.ledger.runs.len(),
            counts[0],
            counts[1],
            counts[2],
            counts[3],
        )
    }

    /// Returns the changes of a job, one a line.
    pub(crate) fn of_job(&self, id: i64) -> String {
        let mut text = String::new();
        for change in self.changes.iter().filter(|change| change.job == id) {
            text += &format!("  {:?} -> {:?}\n", change.old, change.new);
        }
        for row in self.rows.iter().filter(|row| row.id == id) {
            text += &format!("  {row:?}\n");
        }
        text
    }
}
