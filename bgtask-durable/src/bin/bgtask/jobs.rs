//! Shows jobs: a list of them, or one with its history. Must never show arguments or a value that were not asked for.

use crate::arguments::{Listed, One};
use crate::failure::Failure;
use crate::output::Output;
use crate::table::{Table, cut, length, pairs, time, time_if_any};
use bgtask::durable::{JobState, JobStatus};
use bgtask_durable::{JobDetails, Jobs};
use serde::Serialize;
use serde_json::value::RawValue;

/// The longest error in a list, in characters.
const ERROR: usize = 60;

pub(crate) async fn list(
    jobs: &Jobs,
    Listed {
        which,
        state,
        limit,
    }: Listed,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut filter = which.filter().limit(limit);
    if let Some(state) = state {
        filter = filter.state(state);
    }
    let listed = jobs.list(filter).await?;
    output.show(&listed, || {
        let mut table = Table::new(&[
            ">ID",
            "FUNCTION",
            "QUEUE",
            "STATE",
            ">ATTEMPTS",
            ">CRASHES",
            "LAST ERROR",
        ]);
        for job in &listed {
            let error = job.last_error.as_deref().unwrap_or_default();
            table.row([
                job.id.to_string(),
                job.function.clone(),
                job.queue.clone(),
                state_of(job),
                format!("{}/{}", job.attempts, job.max_attempts),
                job.crashes.to_string(),
                cut(error, ERROR),
            ]);
        }
        let text = table.text("no job matches");
        match listed.last() {
            Some(last) if listed.len() == limit as usize => {
                format!("{text}\nthere may be more: --before {}\n", last.id)
            }
            _ => text,
        }
    })?;
    if listed.is_empty() {
        // The output says so.
        return Err(Failure::Nothing(String::new()));
    }
    Ok(())
}

fn state_of(job: &JobStatus) -> String {
    if job.is_cancelling {
        return format!("{}, asked to end", job.state);
    }
    match &job.progress {
        Some(progress) if job.state == JobState::Running => {
            format!("{} {:.0} %", job.state, progress.fraction * 100.0)
        }
        _ => job.state.to_string(),
    }
}

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    details: &'a JobDetails,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a RawValue>,
}

pub(crate) async fn show(jobs: &Jobs, one: One, output: &mut Output) -> Result<(), Failure> {
    let details = jobs.details(one.id).await?;
    let content = if one.arguments || one.value {
        Some(jobs.content(one.id).await?)
    } else {
        None
    };
    let asked = |is_asked: bool| content.as_ref().filter(|_| is_asked);
    let shown = Shown {
        details: &details,
        arguments: asked(one.arguments).map(|content| &*content.arguments),
        value: asked(one.value).and_then(|content| content.value.as_deref()),
    };
    output.show(&shown, || {
        let mut lines = described(&details);
        if let Some(content) = asked(one.arguments) {
            lines.push(("arguments", content.arguments.get().to_owned()));
        }
        if let Some(content) = asked(one.value) {
            let value = content.value.as_ref();
            let value = value.map_or_else(|| "none".to_owned(), |value| value.get().to_owned());
            lines.push(("value", value));
        }
        let mut text = pairs(lines);
        if !details.errors.is_empty() {
            let mut table = Table::new(&[">ATTEMPT", "AT", "ERROR"]);
            for error in &details.errors {
                table.row([
                    error.attempt.to_string(),
                    error.at.clone(),
                    error.message.clone(),
                ]);
            }
            text.push('\n');
            text += &table.text("");
        }
        text
    })
}

fn described(details: &JobDetails) -> Vec<(&'static str, String)> {
    let status = &details.status;
    let mut lines = vec![
        ("job", status.id.to_string()),
        ("function", status.function.clone()),
        ("queue", status.queue.clone()),
        ("priority", details.priority.to_string()),
        ("state", state_of(status)),
        (
            "attempts",
            format!("{} of {}", status.attempts, status.max_attempts),
        ),
        ("crashes", status.crashes.to_string()),
        ("stored", time(details.stored_at)),
        ("due", time(details.due_at)),
        ("last attempt", time_if_any(details.claimed_at)),
        ("ended", time_if_any(details.ended_at)),
    ];
    if let Some(progress) = &status.progress {
        let percent = progress.fraction * 100.0;
        lines.push(("progress", format!("{percent:.0} % {}", progress.note)));
    }
    if let Some(worker) = &details.worker {
        lines.push(("worker", worker.clone()));
    }
    if let Some(tick) = details.tick {
        lines.push(("tick", time(tick)));
    }
    if let Some(keep) = details.keep {
        lines.push(("kept for", length(keep)));
    }
    if details.is_unique {
        lines.push(("unique", "yes".to_owned()));
    }
    if let (JobState::Parked, Some(reason)) = (status.state, &status.last_error) {
        lines.push(("parked", reason.clone()));
    }
    lines
}
