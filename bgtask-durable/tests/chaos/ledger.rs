//! The ledger of a round: a file to which its processes append a line for each thing that they are about to do, or have done.
//! Stands outside of the database. Must never know what a database says.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;

const FILE: &str = "ledger";

/// Appends a line, in one write, so that the lines of all processes have one order and none is torn.
pub(crate) fn append(folder: &Path, line: std::fmt::Arguments<'_>) {
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(folder.join(FILE));
    let line = line.to_string().replace('\n', " ") + "\n";
    file.expect("the ledger opens")
        .write_all(line.as_bytes())
        .expect("the ledger can be written");
}

/// The lines of the ledger, by subject.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    /// The processes that have opened the store.
    pub(crate) opened: usize,
    /// For each process, the last act that it began.
    pub(crate) acts: BTreeMap<usize, usize>,
    /// The processes that have done all acts.
    pub(crate) done: Vec<usize>,
    /// By the number of a job, how often it was to be stored, and with which results.
    pub(crate) stores: BTreeMap<u32, Stores>,
    /// By its name.
    pub(crate) runs: BTreeMap<String, Run>,
    /// The requests that were made for a job, by its id.
    pub(crate) asked: BTreeMap<i64, Vec<Asked>>,
    /// The job, the process, and the outcome, of those that were read when all had ended.
    pub(crate) outcomes: Vec<(i64, u32, String)>,
    /// The processes that have read all outcomes.
    pub(crate) looked: Vec<u32>,
}

/// The attempts to store one job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stores {
    pub(crate) tries: usize,
    pub(crate) ids: Vec<i64>,
    /// Of a job that was there already with its key.
    pub(crate) duplicates: Vec<i64>,
    pub(crate) refused: usize,
}

/// One run of a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) job: i64,
    pub(crate) number: u32,
    pub(crate) process: u32,
    /// `ok`, `err` or `panic`.
    pub(crate) end: Option<String>,
    /// It was about to commit the transaction in which it completed the job.
    pub(crate) commits: bool,
}

/// A request of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Cancel,
    Retry,
    Delete,
}

impl Ledger {
    pub(crate) fn read(folder: &Path) -> Self {
        Self::parse(&fs::read_to_string(folder.join(FILE)).unwrap_or_default())
    }

    pub(crate) fn parse(text: &str) -> Self {
        let mut ledger = Self::default();
        for line in text.split_inclusive('\n') {
            // The last one may be under way.
            if let Some(line) = line.strip_suffix('\n') {
                ledger
                    .add(line)
                    .unwrap_or_else(|| panic!("a line of the ledger: {line:?}"));
            }
        }
        ledger
    }

    fn add(&mut self, line: &str) -> Option<()> {
        let mut words = line.splitn(5, ' ');
        let mut word = || words.next();
        match word()? {
            "open" => self.opened += 1,
            "act" => {
                self.acts
                    .insert(word()?.parse().ok()?, word()?.parse().ok()?);
            }
            "done" => self.done.push(word()?.parse().ok()?),
            "store" => self.of(word()?)?.tries += 1,
            "stored" => {
                let stores = self.of(word()?)?;
                stores.ids.push(word()?.parse().ok()?);
            }
            "duplicate" => {
                let stores = self.of(word()?)?;
                stores.duplicates.push(word()?.parse().ok()?);
            }
            "refused" => self.of(word()?)?.refused += 1,
            "begin" => {
                let run = Run {
                    job: word()?.parse().ok()?,
                    number: word()?.parse().ok()?,
                    process: word()?.parse().ok()?,
                    ..Run::default()
                };
                self.runs.insert(word()?.to_owned(), run);
            }
            "end" => {
                let run = self.runs.get_mut(word()?)?;
                run.end = Some(word()?.to_owned());
            }
            "commit" => self.runs.get_mut(word()?)?.commits = true,
            "ask" => {
                let asked = match word()? {
                    "cancel" => Asked::Cancel,
                    "retry" => Asked::Retry,
                    _ => Asked::Delete,
                };
                let id = word()?.parse().ok()?;
                self.asked.entry(id).or_default().push(asked);
            }
            "outcome" => {
                let (id, process) = (word()?.parse().ok()?, word()?.parse().ok()?);
                let more = words.collect::<Vec<_>>().join(" ");
                self.outcomes.push((id, process, more));
            }
            "looked" => self.looked.push(word()?.parse().ok()?),
            // For those who read the file.
            "note" => {}
            _ => return None,
        }
        Some(())
    }

    fn of(&mut self, number: &str) -> Option<&mut Stores> {
        Some(self.stores.entry(number.parse().ok()?).or_default())
    }

    /// Returns the id of a job, if a process knows it.
    pub(crate) fn id(&self, number: u32) -> Option<i64> {
        let stores = self.stores.get(&number)?;
        stores.ids.first().or(stores.duplicates.first()).copied()
    }

    pub(crate) fn was_asked(&self, id: i64, asked: Asked) -> bool {
        self.asked.get(&id).is_some_and(|all| all.contains(&asked))
    }

    /// Returns the lines that name a job or one of its runs.
    pub(crate) fn of_job(folder: &Path, id: i64, number: Option<u32>) -> String {
        let text = fs::read_to_string(folder.join(FILE)).unwrap_or_default();
        let ledger = Self::parse(&text);
        let mut names: Vec<String> = vec![id.to_string()];
        names.extend(number.map(|number| number.to_string()));
        let runs = ledger.runs.iter().filter(|(_, run)| run.job == id);
        names.extend(runs.map(|(name, _)| name.clone()));
        let is_of = |line: &&str| {
            line.split(' ')
                .skip(1)
                .any(|word| names.iter().any(|name| name == word))
        };
        text.lines().filter(is_of).collect::<Vec<_>>().join("\n")
    }
}
