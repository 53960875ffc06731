//! The pages: which there are, and what they have in common: the result of an action, forms, and links.
//! Must never know how an action is done.

mod audit;
mod errors;
mod job;
mod jobs;
mod overview;
mod queues;
mod schedules;
mod throughput;
mod workers;

use super::Rule;
use super::html::{Html, grouped};
use crate::engine::{Count, Database, Error};
use crate::inspected::Inspected;
use bgtask::dashboard::{Rights, Section, Visit};
use std::future::Future;

pub(super) const ALL: [Section; 7] = [
    section("overview", "Overview"),
    section("jobs", "Jobs"),
    section("queues", "Queues"),
    section("workers", "Workers"),
    section("schedules", "Schedules"),
    section("errors", "Errors"),
    section("audit", "Audit"),
];

const fn section(path: &'static str, title: &'static str) -> Section {
    Section { path, title }
}

/// Why there is no page.
#[derive(Debug)]
pub(super) enum Failure {
    NotFound,
    Wrong(String),
    Unavailable(String),
}

/// What a page is made from.
pub(super) struct Context<'a> {
    pub(super) database: Inspected,
    /// In milliseconds since 1970.
    pub(super) now: i64,
    pub(super) rule: Option<&'a <Rule as std::ops::Deref>::Target>,
    pub(super) visit: &'a Visit,
}

/// A title and the main part.
type Made = Result<(String, Html), Failure>;

/// Returns a page, below the result of the action that led to it.
pub(super) async fn show(context: &Context<'_>) -> Made {
    let mut html = Html::default();
    context.result(&mut html).await?;
    match (context.visit.section, &context.visit.item) {
        ("overview", None) => overview::show(context, html).await,
        ("jobs", None) => jobs::show(context, html).await,
        ("jobs", Some(id)) => job::show(context, html, id).await,
        ("queues", None) => queues::show(context, html).await,
        ("workers", None) => workers::show(context, html).await,
        ("schedules", None) => schedules::show(context, html).await,
        ("errors", None) => errors::show(context, html).await,
        ("audit", None) => audit::show(context, html).await,
        _ => Err(Failure::NotFound),
    }
}

impl Context<'_> {
    async fn ask<T, F>(&self, what: impl FnOnce(Database) -> F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        self.database.ask(what).await.map_err(Failure::Unavailable)
    }

    fn may(&self, rights: Rights) -> bool {
        self.visit.rights >= rights
    }

    /// Adds the result of the action that led here. The text is that of the audit, never one of the address.
    async fn result(&self, html: &mut Html) -> Result<(), Failure> {
        let Some(entry) = self.number("done")? else {
            return Ok(());
        };
        let entry = self
            .ask(move |database| async move { database.audit_entry(entry).await })
            .await?;
        if let Some(entry) = entry {
            let result = entry.result.as_deref().unwrap_or("not over yet");
            html.raw("<p class=\"result\" role=\"status\"><b>")
                .text(&entry.action)
                .raw("</b>, ");
            html.text(&entry.target)
                .raw(": ")
                .text(result)
                .raw("</p>\n");
        }
        Ok(())
    }

    /// Returns the number of this name in the address.
    fn number(&self, name: &str) -> Result<Option<i64>, Failure> {
        let Some(text) = self.visit.query(name) else {
            return Ok(None);
        };
        match text.parse() {
            Ok(number @ 0..) => Ok(Some(number)),
            _ => Err(Failure::Wrong(format!(
                "`{name}` is not a number of this page."
            ))),
        }
    }

    /// Adds the beginning of the form of an action, with its token.
    fn form(&self, html: &mut Html, class: &'static str, action: &'static str) {
        html.raw("<form method=\"post\" class=\"")
            .raw(class)
            .raw("\" action=\"");
        html.raw(self.visit.root).raw("do/").raw(action).raw("\">");
        self.token(html);
    }

    fn token(&self, html: &mut Html) {
        html.raw("<input type=\"hidden\" name=\"token\" value=\"");
        html.text(&self.visit.token).raw("\">");
    }

    /// Adds a form that is one button.
    fn button(
        &self,
        html: &mut Html,
        action: &'static str,
        field: (&'static str, &str),
        label: impl std::fmt::Display,
    ) {
        self.form(html, "acts", action);
        html.raw("<input type=\"hidden\" name=\"")
            .raw(field.0)
            .raw("\" value=\"");
        html.text(field.1).raw("\"><button");
        html.raw(if action == super::actions::DELETE {
            " class=\"is-danger\">"
        } else {
            ">"
        });
        html.text(label).raw("</button></form>");
    }

    /// Adds a link to a job.
    fn job(&self, html: &mut Html, id: i64) {
        html.raw("<a href=\"")
            .raw(self.visit.root)
            .raw("jobs/")
            .text(id)
            .raw("\">#");
        html.text(id).raw("</a>");
    }
}

/// Adds a link.
fn link(html: &mut Html, to: &str, label: impl std::fmt::Display) {
    html.raw("<a href=\"")
        .text(to)
        .raw("\">")
        .text(label)
        .raw("</a>");
}

/// Returns a count as people read it.
fn counted(count: Count) -> String {
    let more = if count.has_more { "+" } else { "" };
    format!("{}{more}", grouped(count.number))
}

fn plural<'a>(number: u64, one: &'a str, many: &'a str) -> &'a str {
    if number == 1 { one } else { many }
}
