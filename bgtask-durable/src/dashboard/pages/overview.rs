//! The overview: what is wrong first, then what there is. Must never know how a figure is read.

use super::queues::{self, Read};
use super::throughput;
use super::workers::{LATE, process_of};
use super::{Context, Failure, Made, counted, link, plural};
use crate::dashboard::html::{Html, length};
use crate::dashboard::search::Query;
use crate::engine::{Count, Queue, Scheduled};
use bgtask::durable::JobState;
use std::collections::BTreeSet;

/// From which age on the oldest waiting job of a queue is a problem, in milliseconds.
const LONG: i64 = 60_000;

/// A problem, with the page that shows more.
struct Problem {
    is_warning: bool,
    kind: &'static str,
    text: String,
    link: String,
}

pub(super) async fn show(context: &Context<'_>, mut html: Html) -> Made {
    let read = queues::read(context).await?;
    let (counts, schedules, minutes) = context
        .ask(|database| async move {
            Ok((
                database.counts().await?,
                database.all_schedules().await?,
                database.minutes().await?,
            ))
        })
        .await?;
    let unknown = unknown_functions(context, &read.queues).await?;
    let mut problems = problems(context, &read, &counts, &unknown);
    problems.extend(schedules.iter().filter_map(paused));
    html.panel("problems", "Problems", "", |html| {
        if problems.is_empty() {
            html.nothing("None.");
            return;
        }
        html.raw("<ul class=\"problems\">");
        for problem in &problems {
            html.raw(if problem.is_warning {
                "<li class=\"is-warning\">"
            } else {
                "<li>"
            });
            html.raw("<span class=\"tag\">")
                .text(problem.kind)
                .raw("</span> ");
            link(html, &problem.link, &problem.text);
            html.raw("</li>");
        }
        html.raw("</ul>");
    });
    html.raw("<section class=\"totals\" data-live id=\"counts\" aria-label=\"Jobs by state\"><dl>");
    for (state, count) in &counts {
        let is_bad = matches!(state, JobState::Dead | JobState::Parked);
        html.raw(match (is_bad, count.number) {
            (_, 0) => "<div class=\"is-zero\"><dt>",
            (true, _) => "<div class=\"is-bad\"><dt>",
            (false, _) => "<div><dt>",
        });
        html.text(state)
            .raw("</dt><dd>")
            .text(counted(*count))
            .raw("</dd></div>");
    }
    html.raw("</dl></section>\n");
    throughput::show(&mut html, &minutes);
    html.panel("oldest", "Oldest waiting job", "by queue", |html| {
        let mut waiting: Vec<_> = read
            .queues
            .iter()
            .filter_map(|queue| Some((queue.oldest?, queue)))
            .collect();
        waiting.sort_by_key(|(oldest, _)| std::cmp::Reverse(*oldest));
        if waiting.is_empty() {
            html.nothing("No job waits.");
            return;
        }
        html.table(&["Queue", "#Oldest", "#Waiting", "#Running"], |html| {
            for (oldest, queue) in waiting {
                html.row(|row| {
                    row.class("what", "", |html| {
                        link(html, &waiting_in(queue), &queue.name)
                    });
                    row.number("Oldest", length(oldest.unsigned_abs()));
                    row.number("Waiting", counted(queue.waiting));
                    row.number("Running", counted(queue.running));
                });
            }
        });
    });
    Ok((String::new(), html))
}

fn waiting_in(queue: &Queue) -> String {
    Query::waiting_in(&queue.name).link("", None)
}

/// Returns the functions that this program does not have, of the first jobs that wait in each queue.
async fn unknown_functions(
    context: &Context<'_>,
    queues: &[Queue],
) -> Result<BTreeSet<String>, Failure> {
    let waiting = queues.iter().filter(|queue| queue.waiting.number > 0);
    let names: Vec<_> = waiting.map(|queue| queue.name.clone()).collect();
    let functions = context
        .ask(move |database| async move {
            let mut functions = BTreeSet::new();
            for queue in &names {
                functions.extend(database.waiting_functions(queue).await?);
            }
            Ok(functions)
        })
        .await?;
    let is_unknown = |function: &String| !context.database.has_function(function);
    Ok(functions.into_iter().filter(is_unknown).collect())
}

/// Returns the problem of a schedule that is paused.
fn paused(schedule: &Scheduled) -> Option<Problem> {
    schedule.paused_at?;
    let by = schedule.paused_by.as_deref().unwrap_or("somebody");
    Some(Problem {
        is_warning: true,
        kind: "paused",
        text: format!("{by} has paused the schedule of {}", schedule.function),
        link: "schedules".to_owned(),
    })
}

fn problems(
    context: &Context<'_>,
    read: &Read,
    counts: &[(JobState, Count)],
    unknown: &BTreeSet<String>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut add = |is_warning, kind, text, link| {
        problems.push(Problem {
            is_warning,
            kind,
            text,
            link,
        });
    };
    for queue in &read.queues {
        if queue.waiting.number == 0 {
            continue;
        }
        let number = counted(queue.waiting);
        let jobs = plural(queue.waiting.number, "job waits", "jobs wait");
        let name = &queue.name;
        let is_served = match &read.served {
            Some(served) => served.contains_key(name),
            // A worker of an earlier version does not declare its queues.
            None => !read.workers.is_empty(),
        };
        if queue.is_paused {
            add(
                true,
                "paused",
                format!("Queue {name} is paused, and {number} {jobs} in it"),
                "queues".to_owned(),
            );
        } else if !is_served {
            add(
                false,
                "no worker",
                format!("No process works queue {name}, and {number} {jobs} in it"),
                waiting_in(queue),
            );
        } else if let Some(oldest) = queue.oldest.filter(|oldest| *oldest >= LONG) {
            let oldest = length(oldest.unsigned_abs());
            add(
                true,
                "waits long",
                format!("The oldest job of queue {name} has waited for {oldest}"),
                waiting_in(queue),
            );
        }
    }
    for function in unknown {
        let jobs = Query {
            function: Some(function.clone()),
            ..Query::default()
        };
        let text = format!(
            "This program does not have {function}, whose jobs wait: another one has to run them"
        );
        add(true, "unknown function", text, jobs.link("", None));
    }
    for worker in &read.workers {
        if let Some(age) = worker.beat_age.filter(|age| *age > LATE) {
            let (host, process) = (
                worker.host.as_deref().unwrap_or("an unknown host"),
                process_of(&worker.id),
            );
            let age = length(age.unsigned_abs());
            add(
                false,
                "late beat",
                format!("Process {process} on {host} has not beaten for {age}"),
                "workers".to_owned(),
            );
        }
    }
    for (state, kind, one, many) in [
        (JobState::Dead, "dead", "job is dead", "jobs are dead"),
        (
            JobState::Parked,
            "parked",
            "job is parked: its arguments do not decode",
            "jobs are parked: their arguments do not decode",
        ),
    ] {
        let count = counts.iter().find(|(other, _)| *other == state);
        let Some((_, count)) = count.filter(|(_, count)| count.number > 0) else {
            continue;
        };
        let link = match state {
            JobState::Dead => "errors".to_owned(),
            _ => Query {
                state: Some(state),
                ..Query::default()
            }
            .link(context.visit.root, None),
        };
        let text = format!("{} {}", counted(*count), plural(count.number, one, many));
        add(state != JobState::Dead, kind, text, link);
    }
    problems
}
