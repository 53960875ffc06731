//! Pauses and resumes schedules, and stores a job of one. Must never act on one of several before all their names are right.

use crate::arguments::{Functions, ScheduleAct};
use crate::failure::Failure;
use crate::output::Output;
use crate::table::escaped;
use bgtask::durable::JobId;
use bgtask_durable::Jobs;
use serde::Serialize;

#[derive(Serialize)]
struct Set {
    function: String,
    is_paused: bool,
    /// It was not so before.
    has_changed: bool,
}

#[derive(Serialize)]
struct Stored {
    function: String,
    job: JobId,
}

pub(crate) async fn act(jobs: &Jobs, act: ScheduleAct, output: &mut Output) -> Result<(), Failure> {
    match act {
        ScheduleAct::Pause { of, by } => set(jobs, of, Some(by.unwrap_or_else(user)), output).await,
        ScheduleAct::Resume(of) => set(jobs, of, None, output).await,
        ScheduleAct::Run(of) => run(jobs, of, output).await,
    }
}

/// Returns the name of whoever runs the program.
fn user() -> String {
    let names = ["USER", "LOGNAME", "USERNAME"];
    let name = names.into_iter().find_map(|name| std::env::var(name).ok());
    name.filter(|name| !name.is_empty())
        .unwrap_or_else(|| "a shell".to_owned())
}

/// Returns the functions, all of which have a schedule.
async fn known(jobs: &Jobs, Functions { functions }: Functions) -> Result<Vec<String>, Failure> {
    let schedules = jobs.schedules().await?;
    for function in &functions {
        if !schedules.iter().any(|known| known.function == *function) {
            let names: Vec<_> = schedules.iter().map(|known| &*known.function).collect();
            let names = match names[..] {
                [] => "none".to_owned(),
                _ => names.join(", "),
            };
            return Err(Failure::Nothing(format!(
                "no schedule is that of {function:?}; there are those of: {names}"
            )));
        }
    }
    Ok(functions)
}

async fn set(
    jobs: &Jobs,
    of: Functions,
    paused_by: Option<String>,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut all = Vec::new();
    for function in known(jobs, of).await? {
        let has_changed = match &paused_by {
            Some(by) => jobs.pause_schedule(&function, by).await?,
            None => jobs.resume_schedule(&function).await?,
        };
        all.push(Set {
            function,
            is_paused: paused_by.is_some(),
            has_changed,
        });
    }
    output.show(&all, || {
        let line = |one: &Set| {
            let what = match (one.has_changed, one.is_paused) {
                (true, true) => "paused",
                (true, false) => "resumed",
                (false, true) => "was paused already",
                (false, false) => "was not paused",
            };
            format!("{}: {what}\n", escaped(&one.function))
        };
        all.iter().map(line).collect()
    })
}

async fn run(jobs: &Jobs, of: Functions, output: &mut Output) -> Result<(), Failure> {
    let mut all = Vec::new();
    for function in known(jobs, of).await? {
        let job = jobs.run_schedule(&function).await?;
        all.push(Stored { function, job });
    }
    output.show(&all, || {
        let line =
            |one: &Stored| format!("{}: job {} is stored\n", escaped(&one.function), one.job);
        all.iter().map(line).collect()
    })
}
