//! The page of workers: where each of them runs, since when, how old its beat is, and what it holds. Must never know a queue's jobs.

use super::{Context, Made};
use crate::dashboard::html::{Html, grouped, length};
use crate::engine::{Held, Worker};
use std::collections::BTreeMap;

/// From which age on a beat is late: a worker beats every second, and is dead for others after four.
pub(super) const LATE: i64 = 3_000;

/// How many jobs of a worker are named.
const NAMED: usize = 10;

pub(super) async fn show(context: &Context<'_>, mut html: Html) -> Made {
    let (workers, held) = context
        .ask(|database| async move { Ok((database.all_workers().await?, database.held().await?)) })
        .await?;
    let mut of_worker: BTreeMap<&str, Vec<&Held>> = BTreeMap::new();
    for job in &held {
        let worker = job.worker.split('.').next().unwrap_or_default();
        of_worker.entry(worker).or_default().push(job);
    }
    html.panel("list", "Workers", grouped(workers.len() as u64), |html| {
        if workers.is_empty() {
            html.nothing("No process works on jobs.");
            return;
        }
        html.table(
            &[
                "Host",
                "#Process",
                "#Running",
                "Queues",
                "Since",
                "#Last beat",
            ],
            |html| {
                for worker in &workers {
                    let held = of_worker
                        .get(worker.id.as_str())
                        .map_or(&[][..], Vec::as_slice);
                    row(context, html, worker, held);
                }
            },
        );
    });
    Ok((String::new(), html))
}

/// Returns the id of the process in the id of a worker.
pub(super) fn process_of(worker: &str) -> &str {
    let rest = worker.strip_prefix("bgtask:").unwrap_or(worker);
    rest.split('-').next().unwrap_or(rest)
}

fn row(context: &Context<'_>, html: &mut Html, worker: &Worker, held: &[&Held]) {
    html.row(|row| {
        row.class("what", "", |html| {
            html.raw("<span class=\"name\">")
                .text(worker.host.as_deref().unwrap_or("unknown"));
            html.raw("</span><span class=\"location\">")
                .text(&worker.id)
                .raw("</span>");
        });
        row.number("Process", process_of(&worker.id));
        row.class("number", "Running", |html| {
            html.text(held.len());
            if !held.is_empty() {
                html.raw("<details><summary>which</summary>");
                for job in held.iter().take(NAMED) {
                    context.job(html, job.id);
                    html.raw(" ").text(&job.function).raw("<br>");
                }
                html.raw("</details>");
            }
        });
        row.cell("Queues", |html| {
            let queues: Vec<_> = worker
                .queues
                .iter()
                .flatten()
                .map(|(queue, limit)| format!("{queue} {limit}"))
                .collect();
            html.text(if queues.is_empty() {
                "unknown".to_owned()
            } else {
                queues.join(", ")
            });
        });
        row.cell("Since", |html| {
            html.moment(worker.started_at, context.now);
        });
        row.class("number", "Last beat", |html| match worker.beat_age {
            Some(age) if age > LATE => {
                html.raw("<span class=\"bad\">")
                    .text(length(age.unsigned_abs()))
                    .raw(" late</span>");
            }
            Some(age) => {
                html.text(length(age.unsigned_abs())).raw(" ago");
            }
            None => {
                html.text("unknown");
            }
        });
    });
}
