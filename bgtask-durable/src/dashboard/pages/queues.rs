//! The page of queues: what waits, for how long, who works, and what is paused. Must never know a job.

use super::{Context, Failure, Made, counted, link};
use crate::dashboard::actions::{PAUSE, RESUME};
use crate::dashboard::html::{Html, length};
use crate::dashboard::search::Query;
use crate::engine::{QUEUES, Queue, Worker};
use bgtask::dashboard::Rights;
use std::collections::{BTreeMap, BTreeSet};

/// All queues with jobs, a pause or a worker, and all workers.
pub(super) struct Read {
    pub(super) queues: Vec<Queue>,
    pub(super) workers: Vec<Worker>,
    /// The number of workers of each queue, if all of them declare their queues.
    pub(super) served: Option<BTreeMap<String, usize>>,
}

pub(super) async fn read(context: &Context<'_>) -> Result<Read, Failure> {
    let (workers, names) = context
        .ask(|database| async move {
            Ok((database.all_workers().await?, database.queue_names().await?))
        })
        .await?;
    let mut served = Some(BTreeMap::new());
    for worker in &workers {
        served = served
            .zip(worker.queues.clone())
            .map(|(mut served, queues)| {
                for (queue, _) in queues.into_iter().filter(|(_, limit)| *limit > 0) {
                    *served.entry(queue).or_insert(0) += 1;
                }
                served
            });
    }
    let worked = served.iter().flat_map(BTreeMap::keys).cloned();
    let names: BTreeSet<String> = names.into_iter().chain(worked).collect();
    let names: Vec<_> = names.into_iter().take(QUEUES).collect();
    let queues = context
        .ask(move |database| async move { database.page_of_queues(&names).await })
        .await?;
    Ok(Read {
        queues,
        workers,
        served,
    })
}

pub(super) async fn show(context: &Context<'_>, mut html: Html) -> Made {
    let Read { queues, served, .. } = read(context).await?;
    html.panel("list", "Queues", "", |html| {
        if queues.is_empty() {
            html.nothing("No queue has jobs, is paused, or is worked.");
            return;
        }
        html.table(
            &[
                "Queue", "#Waiting", "#Oldest", "#Running", "#Workers", "State", "",
            ],
            |html| {
                for queue in &queues {
                    let workers = served
                        .as_ref()
                        .map(|served| served.get(&queue.name).copied().unwrap_or(0));
                    row(context, html, queue, workers);
                }
            },
        );
    });
    Ok((String::new(), html))
}

fn row(context: &Context<'_>, html: &mut Html, queue: &Queue, workers: Option<usize>) {
    let waiting = Query::waiting_in(&queue.name);
    html.row(|row| {
        row.class("what", "", |html| {
            html.raw("<span class=\"name\">")
                .text(&queue.name)
                .raw("</span>");
        });
        row.class("number", "Waiting", |html| {
            link(
                html,
                &waiting.link(context.visit.root, None),
                counted(queue.waiting),
            );
        });
        let oldest = queue.oldest.map(|oldest| length(oldest.unsigned_abs()));
        row.number("Oldest", oldest.as_deref().unwrap_or("–"));
        row.number("Running", counted(queue.running));
        let workers = workers.map_or_else(|| "unknown".to_owned(), |workers| workers.to_string());
        row.number("Workers", workers);
        row.cell("", |html| {
            html.raw(if queue.is_paused {
                "<span class=\"tag is-warning\">paused</span>"
            } else {
                "open"
            });
        });
        row.cell("", |html| {
            if context.may(Rights::Operate) {
                let (action, label) = if queue.is_paused {
                    (RESUME, "Resume")
                } else {
                    (PAUSE, "Pause")
                };
                context.button(html, action, ("queue", &queue.name), label);
            }
        });
    });
}
