//! The page of schedules: the last tick, the next one, and the job of the last. Must never know how a tick becomes a job.

use super::{Context, Made};
use crate::dashboard::html::{Html, grouped, time};
use bgtask::durable::NextTick;
use std::time::{SystemTime, UNIX_EPOCH};

pub(super) async fn show(context: &Context<'_>, mut html: Html) -> Made {
    let rows = context
        .ask(|database| async move { database.all_schedules().await })
        .await?;
    // By the triggers of this program: a definition is only a text.
    let own = context.database.schedules();
    let now = time(context.now);
    html.panel("list", "Schedules", grouped(rows.len() as u64), |html| {
        if rows.is_empty() {
            html.nothing("No durable function has a schedule.");
            return;
        }
        html.table(
            &["Function", "Schedule", "Last tick", "Job", "Next tick"],
            |html| {
                for schedule in &rows {
                    let last = schedule.last_tick / 1000;
                    let ticks = own.iter().find(|ticks| {
                        ticks.function().name() == schedule.function
                            && ticks.definition() == schedule.definition
                    });
                    let next = ticks.map(|ticks| ticks.next(time(last), now));
                    html.row(|row| {
                        row.class("what", "", |html| {
                            html.function(&schedule.function);
                        });
                        row.cell("Schedule", |html| {
                            html.raw("<span class=\"mono\">")
                                .text(&schedule.definition)
                                .raw("</span>");
                        });
                        row.cell("Last tick", |html| {
                            html.moment(last, context.now);
                        });
                        row.cell("Job", |html| match schedule.job {
                            Some((id, state)) => {
                                context.job(html, id);
                                html.raw(" ");
                                match state {
                                    Some(state) => {
                                        html.state(state);
                                    }
                                    None => {
                                        html.text("gone");
                                    }
                                }
                            }
                            None => {
                                html.text("–");
                            }
                        });
                        row.cell("Next tick", |html| match next {
                            Some(NextTick::At(at)) => {
                                html.moment(since(at), context.now);
                            }
                            Some(
                                NextTick::Due { .. }
                                | NextTick::Skipped { .. }
                                | NextTick::Corrected,
                            ) => {
                                html.text("due");
                            }
                            Some(_) => {
                                html.text("none");
                            }
                            None => {
                                html.text("known to another program");
                            }
                        });
                    });
                }
            },
        );
    });
    Ok((String::new(), html))
}

/// Returns a time in milliseconds since 1970.
fn since(at: SystemTime) -> i64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
