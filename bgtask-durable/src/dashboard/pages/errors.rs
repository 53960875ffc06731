//! The page of errors: the latest dead jobs, by function and message. Must never know a living job.

use super::{Context, Made, link};
use crate::dashboard::html::{Html, grouped};
use crate::dashboard::search::Query;
use crate::engine::Dead;
use bgtask::durable::JobState;
use std::collections::BTreeMap;

const HOUR: i64 = 3_600_000;

/// The columns: how far back, in milliseconds, and its name.
const SPANS: [(i64, &str); 3] = [(HOUR, "1 h"), (24 * HOUR, "24 h"), (7 * 24 * HOUR, "7 d")];

/// How many groups are shown.
const GROUPS: usize = 100;

/// Dead jobs of one function with one message.
#[derive(Default)]
struct Group<'a> {
    within: [u64; SPANS.len()],
    all: u64,
    /// The latest of them.
    latest: Option<&'a Dead>,
}

pub(super) async fn show(context: &Context<'_>, mut html: Html) -> Made {
    let dead = context
        .ask(|database| async move { database.latest_dead().await })
        .await?;
    let mut groups: BTreeMap<(&str, String), Group<'_>> = BTreeMap::new();
    // The latest comes first.
    for job in &dead {
        let group = groups
            .entry((job.function.as_str(), message_of(&job.error)))
            .or_default();
        group.all += 1;
        group.latest.get_or_insert(job);
        for (within, (span, _)) in group.within.iter_mut().zip(SPANS) {
            *within += u64::from(context.now.saturating_sub(job.at) <= span);
        }
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, group)| std::cmp::Reverse((group.within, group.all)));
    let note = match dead.len() {
        0 => String::new(),
        1 => "1 dead job".to_owned(),
        number => format!("the latest {} dead jobs", grouped(number as u64)),
    };
    html.panel("list", "Errors of dead jobs", note, |html| {
        if groups.is_empty() {
            html.nothing("No job is dead.");
            return;
        }
        html.table(
            &[
                "Function and message",
                "#1 h",
                "#24 h",
                "#7 d",
                "#All",
                "Latest",
            ],
            |html| {
                for ((function, message), group) in groups.iter().take(GROUPS) {
                    row(context, html, function, message, group);
                }
            },
        );
    });
    Ok((String::new(), html))
}

/// Returns the first line of an error, in which all numbers are the same.
fn message_of(error: &str) -> String {
    let line = error.lines().next().unwrap_or_default();
    let mut message = String::with_capacity(line.len());
    for character in line.chars().take(200) {
        match character {
            digit if digit.is_ascii_digit() => {
                if !message.ends_with('#') {
                    message.push('#');
                }
            }
            other => message.push(other),
        }
    }
    message
}

fn row(context: &Context<'_>, html: &mut Html, function: &str, message: &str, group: &Group<'_>) {
    let same = Query {
        function: Some(function.to_owned()),
        state: Some(JobState::Dead),
        ..Query::default()
    };
    html.row(|row| {
        row.class("what", "", |html| {
            link(html, &same.link(context.visit.root, None), function);
            html.raw("<span class=\"location\">")
                .text(message)
                .raw("</span>");
        });
        for (count, (_, name)) in group.within.iter().zip(SPANS) {
            row.class("number", name, |html| {
                html.raw(if *count == 0 {
                    "<span class=\"zero\">"
                } else {
                    "<span>"
                });
                html.text(grouped(*count)).raw("</span>");
            });
        }
        row.number("All", grouped(group.all));
        row.cell("Latest", |html| {
            if let Some(latest) = group.latest {
                context.job(html, latest.id);
                html.raw(", ").moment(latest.at, context.now);
            }
        });
    });
}

#[cfg(test)]
mod tests {
    use super::message_of;

    #[test]
    fn messages_that_differ_in_numbers_are_one() {
        assert_eq!(
            message_of("order 17 of 2026: gone\nat line 3"),
            "order # of #: gone"
        );
    }
}
