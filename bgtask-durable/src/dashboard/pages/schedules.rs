//! The page of schedules: the last tick, the next one, the job of the last, and what is paused. Must never know how a tick becomes a job.

use super::{Context, Made};
use crate::dashboard::actions::{PAUSE_SCHEDULE, RESUME_SCHEDULE, RUN_SCHEDULE};
use crate::dashboard::html::{Html, grouped, time};
use crate::engine::{RENAMED, Scheduled};
use crate::schedule::counted_from;
use bgtask::dashboard::Rights;
use bgtask::durable::{NextTick, Ticks};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

pub(super) async fn show(context: &Context<'_>, mut html: Html) -> Made {
    let rows = context
        .ask(|database| async move { database.all_schedules().await })
        .await?;
    // By the triggers of this program: a definition is only a text.
    let own = context.database.schedules();
    html.panel("list", "Schedules", grouped(rows.len() as u64), |html| {
        if rows.is_empty() {
            html.nothing("No durable function has a schedule.");
            return;
        }
        html.table(
            &[
                "Function",
                "Schedule",
                "Last tick",
                "Job",
                "Next tick",
                "State",
                "",
            ],
            |html| {
                for schedule in &rows {
                    row(context, html, schedule, &own);
                }
            },
        );
    });
    Ok((String::new(), html))
}

fn row(context: &Context<'_>, html: &mut Html, schedule: &Scheduled, own: &[Arc<Ticks>]) {
    let paused_at = schedule.paused_at.map(|at| at / 1000);
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
            html.moment(schedule.last_tick / 1000, context.now);
        });
        row.cell("Job", |html| match schedule.job {
            Some((id, state)) => {
                context.job(html, id);
                html.raw(" ");
                match state {
                    Some(state) => html.state(state),
                    None => html.text("gone"),
                };
            }
            None => {
                html.text("–");
            }
        });
        row.cell("Next tick", |html| next(context, html, schedule, own));
        row.cell("", |html| match paused_at {
            Some(at) => {
                html.raw("<span class=\"tag is-warning\">paused</span> ")
                    .moment(at, context.now);
                if let Some(by) = &schedule.paused_by {
                    html.raw(" by ").text(by);
                }
            }
            None => {
                html.text("open");
            }
        });
        row.cell("", |html| {
            // The row of a former name has no ticks.
            if !context.may(Rights::Operate) || schedule.definition.starts_with(RENAMED) {
                return;
            }
            let field = ("schedule", schedule.function.as_str());
            html.raw("<div class=\"acts\">");
            context.button(html, RUN_SCHEDULE, field, "Run now");
            if paused_at.is_some() {
                context.button(html, RESUME_SCHEDULE, field, "Resume");
            } else {
                context.button(html, PAUSE_SCHEDULE, field, "Pause");
            }
            html.raw("</div>");
        });
    });
}

fn next(context: &Context<'_>, html: &mut Html, schedule: &Scheduled, own: &[Arc<Ticks>]) {
    let ticks = own.iter().find(|ticks| {
        ticks.function().name() == schedule.function && ticks.definition() == schedule.definition
    });
    let Some(ticks) = ticks else {
        html.text("known to another program");
        return;
    };
    if schedule.paused_at.is_some() {
        html.text("none");
        return;
    }
    let last = counted_from(ticks, schedule.last_tick, schedule.resumed_at);
    match ticks.next(last, time(context.now)) {
        NextTick::At(at) => html.moment(since(at), context.now),
        NextTick::Due { .. } | NextTick::Skipped { .. } | NextTick::Corrected => html.text("due"),
        _ => html.text("none"),
    };
}

/// Returns a time in milliseconds since 1970.
fn since(at: SystemTime) -> i64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
