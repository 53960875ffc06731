//! Changes single jobs, or all dead ones of a filter, and says of each what has really happened.
//! Must never change a job that was not meant.

use crate::arguments::{Edited, Retry};
use crate::failure::Failure;
use crate::output::Output;
use crate::table::count;
use bgtask::durable::{JobError, JobId, JobState};
use bgtask_durable::{Edit, Jobs};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, Write as _};

/// What has become of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Became {
    Retried,
    Cancelled,
    /// It runs, and is asked to end.
    AskedToEnd,
    Edited,
    Deleted,
    AlreadyEnded,
    AlreadyWaiting,
    AlreadyRunning,
    Running,
    Done,
    Parked,
    NotFound,
    Gone,
    Failed,
}

impl Became {
    /// Whether the job was changed as requested.
    fn is_as_requested(self) -> bool {
        matches!(
            self,
            Self::Retried | Self::Cancelled | Self::AskedToEnd | Self::Edited | Self::Deleted
        )
    }

    /// Returns the words after the number of jobs.
    fn words(self, number: u64) -> String {
        let one_or = |one: &str, many: &str| {
            if number == 1 {
                one.to_owned()
            } else {
                many.to_owned()
            }
        };
        match self {
            Self::Retried => "retried".to_owned(),
            Self::Cancelled => "cancelled".to_owned(),
            Self::AskedToEnd => one_or("runs and was asked to end", "run and were asked to end"),
            Self::Edited => "changed".to_owned(),
            Self::Deleted => "deleted".to_owned(),
            Self::AlreadyEnded => "had already ended".to_owned(),
            Self::AlreadyWaiting => one_or("was already waiting", "were already waiting"),
            Self::AlreadyRunning => one_or("was already running", "were already running"),
            Self::Running => one_or("runs: cancel it first", "run: cancel them first"),
            Self::Done => one_or("is done", "are done"),
            Self::Parked => one_or(
                "is parked: restart a program that can decode it",
                "are parked: restart a program that can decode them",
            ),
            Self::NotFound => "not found".to_owned(),
            Self::Gone => "deleted before".to_owned(),
            Self::Failed => "failed".to_owned(),
        }
    }
}

/// The result for one job.
#[derive(Debug, Serialize)]
struct Changed {
    id: JobId,
    result: Became,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Changed {
    fn new(id: JobId, became: Result<Became, JobError>) -> Self {
        let (result, error) = match became {
            Ok(became) => (became, None),
            Err(JobError::NotFound) => (Became::NotFound, None),
            Err(JobError::Gone) => (Became::Gone, None),
            Err(JobError::Store { message, .. }) => (Became::Failed, Some(message)),
            Err(error) => (Became::Failed, Some(error.to_string())),
        };
        Self { id, result, error }
    }
}

#[derive(Serialize)]
struct AllChanged {
    results: Vec<Changed>,
}

pub(crate) async fn retry(jobs: &Jobs, retry: Retry, output: &mut Output) -> Result<(), Failure> {
    if retry.dead {
        return retry_dead(jobs, retry, output).await;
    }
    let mut results = Vec::with_capacity(retry.ids.len());
    for id in retry.ids {
        results.push(Changed::new(id, retry_one(jobs, id).await));
    }
    show(results, output)
}

async fn retry_one(jobs: &Jobs, id: JobId) -> Result<Became, JobError> {
    let job = jobs.get::<()>(id);
    if job.retry_now().await? {
        return Ok(Became::Retried);
    }
    Ok(match job.status().await?.state {
        JobState::Running => Became::Running,
        JobState::Done => Became::Done,
        JobState::Parked => Became::Parked,
        _ => Became::AlreadyWaiting,
    })
}

pub(crate) async fn cancel(jobs: &Jobs, ids: &[JobId], output: &mut Output) -> Result<(), Failure> {
    let mut results = Vec::with_capacity(ids.len());
    for id in ids {
        results.push(Changed::new(*id, cancel_one(jobs, *id).await));
    }
    show(results, output)
}

async fn cancel_one(jobs: &Jobs, id: JobId) -> Result<Became, JobError> {
    let job = jobs.get::<()>(id);
    if !job.cancel().await? {
        return Ok(Became::AlreadyEnded);
    }
    Ok(match job.status().await {
        Ok(status) if status.state == JobState::Cancelled => Became::Cancelled,
        // It ran, and may have ended since, with a value or without.
        _ => Became::AskedToEnd,
    })
}

pub(crate) async fn edit(jobs: &Jobs, which: &Edited, output: &mut Output) -> Result<(), Failure> {
    // Of one time for all of them.
    let edit = which.edit();
    let mut results = Vec::with_capacity(which.ids.len());
    for id in &which.ids {
        results.push(Changed::new(*id, edit_one(jobs, *id, edit).await));
    }
    show(results, output)
}

async fn edit_one(jobs: &Jobs, id: JobId, edit: Edit) -> Result<Became, JobError> {
    if jobs.edit(id, edit).await? {
        return Ok(Became::Edited);
    }
    Ok(match jobs.get::<()>(id).status().await?.state {
        JobState::Parked => Became::Parked,
        state if state.has_ended() => Became::AlreadyEnded,
        _ => Became::AlreadyRunning,
    })
}

pub(crate) async fn delete(jobs: &Jobs, ids: &[JobId], output: &mut Output) -> Result<(), Failure> {
    let mut results = Vec::with_capacity(ids.len());
    for id in ids {
        let deleted = jobs.delete(*id).await;
        let became = deleted.map(|is_deleted| {
            if is_deleted {
                Became::Deleted
            } else {
                Became::Running
            }
        });
        results.push(Changed::new(*id, became));
    }
    show(results, output)
}

/// Shows the results. Fails if a job was not changed as requested.
fn show(results: Vec<Changed>, output: &mut Output) -> Result<(), Failure> {
    let all = AllChanged { results };
    output.show(&all, || text(&all.results))?;
    if all.results.iter().any(|one| one.result == Became::Failed) {
        return Err(Failure::Failed(
            "not all jobs were changed, as shown above; `bgtask doctor` examines the database"
                .to_owned(),
        ));
    }
    if all.results.iter().any(|one| !one.result.is_as_requested()) {
        return Err(Failure::Nothing(String::new()));
    }
    Ok(())
}

fn text(results: &[Changed]) -> String {
    let mut numbers = BTreeMap::new();
    for one in results {
        *numbers.entry(one.result).or_insert(0_u64) += 1;
    }
    let parts = numbers
        .into_iter()
        .map(|(became, number)| format!("{number} {}", became.words(number)));
    let mut text = parts.collect::<Vec<_>>().join(", ") + "\n";
    if results.len() > 1 {
        for one in results.iter().filter(|one| !one.result.is_as_requested()) {
            text += &format!("job {}: {}\n", one.id, one.result.words(1));
        }
    }
    for one in results {
        if let Some(error) = &one.error {
            text += &format!("job {}: {}\n", one.id, crate::table::escaped(error));
        }
    }
    text
}

#[derive(Serialize)]
struct Retried {
    matched: u64,
    retried: u64,
}

async fn retry_dead(jobs: &Jobs, retry: Retry, output: &mut Output) -> Result<(), Failure> {
    let which = &retry.which;
    let filter = which.filter().state(JobState::Dead);
    let matched = jobs.matching(filter.clone()).await?;
    let meant = format!("{}{}", count(matched, "dead job"), which.text());
    if matched == 0 {
        output.show(
            &Retried {
                matched,
                retried: 0,
            },
            || format!("{meant}\n"),
        )?;
        return Err(Failure::Nothing(String::new()));
    }
    if !retry.yes && !is_confirmed(&meant)? {
        return Err(Failure::Failed(
            "nothing was changed: answer `y`, or give `--yes`".to_owned(),
        ));
    }
    let retried = jobs.retry_dead(filter).await?;
    output.show(&Retried { matched, retried }, || {
        let left = matched.saturating_sub(retried);
        let rest = match left {
            0 => String::new(),
            _ => format!(
                ", {left} left as {}: another job with the same key is there, or it was changed meanwhile",
                if left == 1 { "it is" } else { "they are" }
            ),
        };
        format!("{retried} retried{rest}\n")
    })?;
    if retried == 0 {
        return Err(Failure::Nothing(String::new()));
    }
    Ok(())
}

/// Asks on the standard error, as the output may be read by a program.
fn is_confirmed(meant: &str) -> Result<bool, Failure> {
    let mut stderr = io::stderr();
    write!(stderr, "{}. Retry? [y/N] ", crate::table::escaped(meant))?;
    stderr.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
