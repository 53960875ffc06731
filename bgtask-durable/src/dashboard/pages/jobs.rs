//! The page of jobs: the states with their counts, the search, and a list with what can be done. Must never know one job's attempts.

use super::{Context, Failure, Made, counted, link, plural};
use crate::dashboard::actions::{CANCEL, DELETE, RETRY, RETRY_DEAD, can_retry_all};
use crate::dashboard::html::{Html, grouped};
use crate::dashboard::search::Query;
use crate::engine::{COUNTED, Candidates, Listed, Page};
use bgtask::dashboard::Rights;

pub(super) async fn show(context: &Context<'_>, mut html: Html) -> Made {
    let text = context.visit.query("q").unwrap_or_default().to_owned();
    let query = Query::parse(&text).and_then(|query| {
        // A search must not reveal hidden arguments.
        if context.rule.is_none() && !query.arguments.is_empty() {
            return Err("This dashboard hides arguments, so nobody can search them: `show_values` of its sections decides what it shows.".to_owned());
        }
        Ok(query)
    });
    field(context, &mut html, &text, query.as_ref().err());
    let Ok(query) = query else {
        return Ok(("Jobs".to_owned(), html));
    };
    let before = context.number("before")?;
    let search = query.search(before);
    let counts = context
        .ask(|database| async move { database.counts().await })
        .await?;
    let (page, looked) = if query.arguments.is_empty() {
        let page = context.ask(move |database| async move { database.page(&search).await });
        (page.await?, None)
    } else {
        let read = context.ask(move |database| async move { database.candidates(&search).await });
        let (page, looked) = with_arguments(context, &query, read.await?);
        (page, Some(looked))
    };
    html.raw(
        "<nav class=\"panel\" data-live id=\"states\" aria-label=\"States\"><ul class=\"states\">",
    );
    let all = (None, "all", None);
    let states = counts
        .iter()
        .map(|(state, count)| (Some(*state), state.as_str(), Some(*count)));
    for (state, name, count) in [all].into_iter().chain(states) {
        html.raw("<li><a href=\"")
            .text(query.in_state(state).link("", None));
        html.raw(if query.state == state {
            "\" aria-current=\"true\">"
        } else {
            "\">"
        });
        html.text(name);
        if let Some(count) = count {
            html.raw(" <b>").text(counted(count)).raw("</b>");
        }
        html.raw("</a></li>");
    }
    html.raw("</ul></nav>\n");
    if can_retry_all(&query) && context.may(Rights::Operate) {
        retry_all(context, &mut html, &query).await?;
    }
    let note = match page.jobs.len() {
        0 => String::new(),
        number => format!("{number} shown, the latest first"),
    };
    html.panel("list", "Jobs", note, |html| {
        if let Some(looked) = &looked {
            html.raw("<p class=\"note\">").text(looked).raw("</p>");
        }
        list(context, html, &query, &page)
    });
    Ok(("Jobs".to_owned(), html))
}

/// Returns the page of the jobs whose arguments are those of a search, as far as the rule shows them, and what was looked through.
fn with_arguments(context: &Context<'_>, query: &Query, read: Candidates) -> (Page, String) {
    let (mut jobs, mut too_long) = (Vec::new(), 0_u64);
    let number = read.jobs.len() as u64;
    for (job, arguments) in read.jobs {
        let Some(arguments) = arguments else {
            too_long += 1;
            continue;
        };
        let value = serde_json::from_str(&arguments).ok();
        let shown = value.and_then(|value| context.rule?(&job.function, value));
        if shown.is_some_and(|shown| query.holds_for(&shown)) {
            jobs.push(job);
        }
    }
    let mut looked = format!(
        "Looked at the arguments of {} {}, the latest first, as they are shown.",
        grouped(number),
        plural(number, "job", "jobs")
    );
    if too_long > 0 {
        looked += &format!(" Left out {} with more than 16 KiB.", grouped(too_long));
    }
    (Page::of(jobs, read.next), looked)
}

fn field(context: &Context<'_>, html: &mut Html, text: &str, wrong: Option<&String>) {
    html.raw("<form class=\"search\" role=\"search\" method=\"get\" action=\"");
    html.raw(context.visit.root).raw("jobs\"><input type=\"search\" name=\"q\" maxlength=\"500\" autocomplete=\"off\" spellcheck=\"false\"");
    html.raw(" aria-label=\"Search\" aria-describedby=\"search-help\" placeholder=\"fn:shop::send state:dead error:&quot;timed out&quot;\" value=\"");
    html.text(text)
        .raw("\"><button>Search</button></form>\n<p class=\"note\" id=\"search-help\">");
    html.raw("<code>fn:</code> <code>queue:</code> <code>state:</code> <code>error:</code>, and <code>key:</code> together with <code>fn:</code>.");
    if context.rule.is_some() {
        html.raw(" <code>args.order.id:</code> looks for an argument.");
    }
    html.raw(" The key / leads here.</p>\n");
    if let Some(wrong) = wrong {
        html.raw("<p class=\"notice\" role=\"alert\">")
            .text(wrong)
            .raw("</p>\n");
    }
}

/// Adds the form that retries all dead jobs of a search, with their number.
async fn retry_all(context: &Context<'_>, html: &mut Html, query: &Query) -> Result<(), Failure> {
    let (function, queue) = (query.function.clone(), query.queue.clone());
    let count = context
        .ask(move |database| async move {
            database
                .count_dead(function.as_deref(), queue.as_deref())
                .await
        })
        .await?;
    if count.number == 0 {
        return Ok(());
    }
    let number = counted(count);
    html.raw("<section class=\"panel\" data-live id=\"all\" aria-label=\"All of them\"><p>");
    let jobs = plural(count.number, "dead job matches", "dead jobs match");
    html.text(&number).raw(" ").text(jobs);
    html.raw(". Retried jobs run again, with their attempts counted anew.</p>");
    context.button(
        html,
        RETRY_DEAD,
        ("q", &query.to_string()),
        format_args!("Retry all {number}"),
    );
    html.raw("</section>\n");
    Ok(())
}

fn list(context: &Context<'_>, html: &mut Html, query: &Query, page: &Page) {
    let acts = context.may(Rights::Operate) && !page.jobs.is_empty();
    if acts {
        // Each button names its action.
        context.form(html, "acts-of-rows", RETRY);
        html.raw("<input type=\"hidden\" name=\"q\" value=\"")
            .text(query)
            .raw("\">");
    }
    if page.jobs.is_empty() {
        html.nothing(if page.is_partial {
            "None among the latest that were looked through."
        } else {
            "No job matches."
        });
    } else {
        let heads: &[_] = if acts {
            &["", "#Id", "Function", "State", "Queue", "#Attempts", "When"]
        } else {
            &["#Id", "Function", "State", "Queue", "#Attempts", "When"]
        };
        html.table(heads, |html| {
            page.jobs
                .iter()
                .for_each(|job| row(context, html, job, acts));
        });
    }
    if acts {
        buttons(context, html);
    }
    let Some(next) = page.next else {
        return;
    };
    html.raw("<p class=\"more\">");
    if page.is_partial && query.arguments.is_empty() {
        html.raw("<span>More than ")
            .text(grouped(COUNTED.unsigned_abs()));
        html.raw(" jobs come into question, so they are looked through in parts.</span>");
    }
    let to = query.link(context.visit.root, Some(next));
    link(html, &to, format_args!("Before #{next}"));
    html.raw("</p>");
}

fn row(context: &Context<'_>, html: &mut Html, job: &Listed, acts: bool) {
    html.row(|row| {
        if acts {
            row.class("select", "", |html| {
                html.raw("<input type=\"checkbox\" name=\"job\" value=\"")
                    .text(job.id);
                html.raw("\" aria-label=\"Select job ")
                    .text(job.id)
                    .raw("\">");
            });
        }
        row.class("number", "", |html| context.job(html, job.id));
        row.class("what", "", |html| {
            html.function(&job.function);
            if let Some(error) = &job.error {
                let line = error.lines().next().unwrap_or_default();
                html.raw("<span class=\"location\">")
                    .text(line)
                    .raw("</span>");
            }
        });
        row.cell("", |html| {
            html.state(job.state);
        });
        row.cell("Queue", |html| {
            html.text(&job.queue);
        });
        row.number(
            "Attempts",
            format_args!("{} of {}", job.attempts, job.max_attempts),
        );
        row.cell("", |html| {
            html.moment(job.at, context.now);
        });
    });
}

fn buttons(context: &Context<'_>, html: &mut Html) {
    html.raw("<div class=\"acts\"><label><input type=\"checkbox\" data-all> All shown</label><button>Retry</button><button formaction=\"");
    html.raw(context.visit.root)
        .raw("do/")
        .raw(CANCEL)
        .raw("\">Cancel</button>");
    if context.may(Rights::Admin) {
        html.raw("<button class=\"is-danger\" formaction=\"")
            .raw(context.visit.root);
        html.raw("do/").raw(DELETE).raw("\">Delete</button>");
    }
    html.raw("</div></form>");
}
