//! The page of the audit: who did what, and what happened. Must never know how it is done.

use super::{Context, Made, link};
use crate::dashboard::html::Html;
use crate::engine::LISTED;

pub(super) async fn show(context: &Context<'_>, mut html: Html) -> Made {
    let before = context.number("before")?;
    let mut entries = context
        .ask(move |database| async move { database.audit(before).await })
        .await?;
    let has_more = entries.len() > LISTED;
    entries.truncate(LISTED);
    html.panel("list", "Actions", "the latest first", |html| {
        if entries.is_empty() {
            html.nothing("Nobody has acted yet.");
            return;
        }
        html.table(&["When", "Who", "Action", "Of", "Result"], |html| {
            for entry in &entries {
                html.row(|row| {
                    row.cell("", |html| { html.moment(entry.at, context.now); });
                    row.class("what", "", |html| { html.raw("<span class=\"name\">").text(&entry.actor).raw("</span>"); });
                    row.cell("", |html| { html.text(&entry.action); });
                    row.cell("", |html| { html.text(&entry.target); });
                    row.cell("Result", |html| match &entry.result {
                        Some(result) => { html.text(result); },
                        None => { html.raw("<span class=\"warn\">none: it is not over, or the process died</span>"); },
                    });
                });
            }
        });
        if let (true, Some(last)) = (has_more, entries.last()) {
            html.raw("<p class=\"more\">");
            link(html, &format!("audit?before={}", last.id), "Earlier");
            html.raw("</p>");
        }
    });
    Ok((String::new(), html))
}
