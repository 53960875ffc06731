//! The page of one job: its state, what happened to it, its failed attempts, its progress, and its values as far as they are shown.
//! Must never know other jobs.

use super::{Context, Failure, Made, link};
use crate::dashboard::actions::{CANCEL, DELETE, EDIT, RETRY};
use crate::dashboard::html::{Html, grouped, length};
use crate::dashboard::search::Query;
use crate::engine::Detail;
use bgtask::dashboard::Rights;
use bgtask::durable::JobState;
use serde::Deserialize;
use serde_json::Value;
use std::time::UNIX_EPOCH;

/// A failed attempt as the engine stores it.
#[derive(Deserialize)]
struct Failed {
    at: String,
    attempt: i64,
    error: String,
}

/// Something that happened to the job, at a time in milliseconds since 1970.
struct Event<'a> {
    at: i64,
    what: String,
    more: Option<&'a str>,
}

pub(super) async fn show(context: &Context<'_>, mut html: Html, id: &str) -> Made {
    let id: i64 = id.parse().map_err(|_| Failure::NotFound)?;
    let with_values = context.rule.is_some();
    let detail = context
        .ask(move |database| async move { database.detail(id, with_values).await })
        .await?;
    let Some(detail) = detail else {
        if context.visit.query("done").is_some() {
            // What was done to it stands above.
            html.nothing("The job is not there any more.");
            return Ok((format!("Job {id}"), html));
        }
        return Err(Failure::NotFound);
    };
    let now = context.now;
    let failed: Vec<Failed> = parsed(detail.errors.as_deref());
    let workers: Vec<String> = parsed(detail.workers.as_deref());
    html.panel("facts", "Now", "", |html| {
        facts(context, html, &detail, workers.last());
        acts(context, html, &detail);
    });
    html.panel("events", "What happened", "the latest first", |html| {
        html.raw("<ol class=\"timeline-of-job\">");
        for event in events(&detail, &failed, now) {
            html.raw("<li>")
                .moment(event.at, now)
                .raw("<span>")
                .text(&event.what)
                .raw("</span>");
            if let Some(more) = event.more {
                html.raw("<pre class=\"message\" tabindex=\"0\">")
                    .text(more)
                    .raw("</pre>");
            }
            html.raw("</li>");
        }
        html.raw("</ol>");
    });
    if !workers.is_empty() {
        html.panel("workers", "Claims", grouped(workers.len() as u64), |html| {
            html.raw("<p class=\"note\">The workers that have claimed it, the last one first.</p><pre tabindex=\"0\">");
            for worker in workers.iter().rev() {
                html.text(worker).raw("\n");
            }
            html.raw("</pre>");
        });
    }
    values(context, &mut html, &detail);
    Ok((format!("Job {id}"), html))
}

fn parsed<T: for<'a> Deserialize<'a>>(text: Option<&str>) -> Vec<T> {
    let parsed = text.and_then(|text| serde_json::from_str(text).ok());
    parsed.unwrap_or_default()
}

fn facts(context: &Context<'_>, html: &mut Html, detail: &Detail, worker: Option<&String>) {
    let job = &detail.job;
    let root = context.visit.root;
    html.raw("<dl class=\"facts\"><dt>State</dt><dd>")
        .state(job.state);
    if detail.is_cancelling && job.state == JobState::Running {
        html.raw(" asked to end");
    }
    html.raw("</dd><dt>Function</dt><dd>");
    let same = Query {
        function: Some(job.function.clone()),
        ..Query::default()
    };
    link(html, &same.link(root, None), &job.function);
    html.raw("</dd><dt>Queue</dt><dd>");
    let same = Query {
        queue: Some(job.queue.clone()),
        ..Query::default()
    };
    link(html, &same.link(root, None), &job.queue);
    html.raw("</dd><dt>Priority</dt><dd>").text(detail.priority);
    html.raw("</dd><dt>Attempts</dt><dd>")
        .text(job.attempts)
        .raw(" of ")
        .text(job.max_attempts);
    if detail.crashes > 0 {
        html.raw(", and ")
            .text(detail.crashes)
            .raw(" in which the process died");
    }
    html.raw("</dd>");
    if let Some(begun) = detail.attempted_at {
        html.raw("<dt>Last attempt</dt><dd>began ")
            .moment(begun, context.now);
        if let Some(end) = detail.finalized_at {
            let took = end.saturating_sub(begun).max(0).unsigned_abs();
            html.raw(", took ").text(length(took));
        }
        if let Some(worker) = worker {
            html.raw(", by <span class=\"mono\">")
                .text(worker)
                .raw("</span>");
        }
        html.raw("</dd>");
    }
    if matches!(job.state, JobState::Scheduled | JobState::Retrying) {
        html.raw("<dt>Runs</dt><dd>")
            .moment(detail.scheduled_at, context.now)
            .raw("</dd>");
    }
    if let Some(progress) = &detail.progress {
        let part = progress.fraction.clamp(0.0, 1.0);
        html.raw("<dt>Progress</dt><dd><progress aria-label=\"Progress\" max=\"1\" value=\"")
            .text(part);
        html.raw("\"></progress> ")
            .text(format_args!("{:.0} % ", part * 100.0))
            .text(&progress.note);
        html.raw("</dd>");
    }
    if let (JobState::Parked, Some(reason)) = (job.state, &job.error) {
        html.raw("<dt>Parked</dt><dd>").text(reason).raw("</dd>");
    }
    html.raw("</dl>");
}

fn acts(context: &Context<'_>, html: &mut Html, detail: &Detail) {
    if !context.may(Rights::Operate) {
        return;
    }
    let id = detail.job.id.to_string();
    let state = detail.job.state;
    html.raw("<div class=\"acts\">");
    if matches!(
        state,
        JobState::Scheduled | JobState::Retrying | JobState::Dead | JobState::Cancelled
    ) {
        context.button(html, RETRY, ("job", &id), "Retry now");
    }
    if !state.has_ended() {
        context.button(html, CANCEL, ("job", &id), "Cancel");
    }
    if context.may(Rights::Admin) && state != JobState::Running {
        context.button(html, DELETE, ("job", &id), "Delete");
    }
    html.raw("</div>");
    if matches!(
        state,
        JobState::Waiting | JobState::Scheduled | JobState::Retrying
    ) {
        edit(context, html, detail);
    }
}

/// Adds the form that changes the priority and the time.
fn edit(context: &Context<'_>, html: &mut Html, detail: &Detail) {
    context.form(html, "acts", EDIT);
    html.raw("<input type=\"hidden\" name=\"job\" value=\"")
        .text(detail.job.id)
        .raw("\"><label>Priority <select name=\"priority\">");
    for priority in 1..=4 {
        html.raw("<option");
        html.raw(if priority == detail.priority {
            " selected>"
        } else {
            ">"
        });
        html.text(priority).raw("</option>");
    }
    // Without a script, the server cannot know the time zone of the visitor.
    html.raw("</select></label><label>Time in UTC, empty to leave it <input type=\"datetime-local\" name=\"at\"></label>");
    html.raw("<button>Change</button></form>");
}

/// Returns what is known of the past of a job, the latest first.
fn events<'a>(detail: &Detail, failed: &'a [Failed], now: i64) -> Vec<Event<'a>> {
    let event = |at, what: String| Event {
        at,
        what,
        more: None,
    };
    let mut events = vec![event(detail.created_at, "Stored".to_owned())];
    for attempt in failed {
        events.push(Event {
            at: milliseconds(&attempt.at).unwrap_or(detail.created_at),
            what: format!("Attempt {} failed", attempt.attempt),
            more: Some(&attempt.error),
        });
    }
    let state = detail.job.state;
    if let Some(begun) = detail.attempted_at {
        let what = match detail.job.attempts {
            0 => "Claimed, and given back".to_owned(),
            attempt => format!("Attempt {attempt} began"),
        };
        events.push(event(begun, what));
    }
    if let Some(ended) = detail.finalized_at {
        events.push(event(ended, format!("Ended: {state}")));
    }
    if matches!(state, JobState::Scheduled | JobState::Retrying) && detail.scheduled_at > now {
        events.push(event(detail.scheduled_at, "Becomes due".to_owned()));
    }
    // Stable: of those at one time, the later in the list is the later.
    events.reverse();
    events.sort_by_key(|event| std::cmp::Reverse(event.at));
    events
}

/// Reads a time as the engine writes it.
fn milliseconds(text: &str) -> Option<i64> {
    let time =
        humantime::parse_rfc3339_weak(text.split_once('+').map_or(text, |(time, _)| time)).ok()?;
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_millis()).ok()
}

fn values(context: &Context<'_>, html: &mut Html, detail: &Detail) {
    let Some(rule) = context.rule else {
        html.panel("values", "Arguments and output", "hidden", |html| {
            html.raw("<p class=\"note\">This dashboard does not show them. <code>show_values</code> of its sections decides what it shows.</p>");
        });
        return;
    };
    let shown = |text: &Option<String>| {
        let value: Value = serde_json::from_str(text.as_deref()?).ok()?;
        let shown = rule(&detail.job.function, value)?;
        serde_json::to_string_pretty(&shown).ok()
    };
    let (arguments, output) = (shown(&detail.arguments), shown(&detail.output));
    html.panel(
        "values",
        "Arguments and output",
        "as the rule of this dashboard lets them through",
        |html| {
            for (name, value) in [("Arguments", arguments), ("Output", output)] {
                html.raw("<p>").text(name).raw("</p><pre tabindex=\"0\">");
                html.text(value.as_deref().unwrap_or("–")).raw("</pre>");
            }
        },
    );
}
