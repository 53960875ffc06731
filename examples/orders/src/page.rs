//! The page. It works without JavaScript; `live.js` keeps it up to date without reloading it.
//! Knows nothing of the database.

use crate::shop::Tracked;
use crate::store::Counts;
use bgtask::durable::JobState;
use maud::{DOCTYPE, Markup, html};

/// Renders the form, the newest orders and the counts.
pub(crate) fn home(newest: &[Tracked], counts: &Counts) -> Markup {
    let main = html! {
        section {
            h2 { "Place an order" }
            form method="post" action="/orders" {
                label for="item" { "Item" }
                input #item name="item" required maxlength="100" value="Kettle" autocomplete="off";
                label for="quantity" { "Quantity" }
                input #quantity name="quantity" type="number" required min="1" max="99" value="1" inputmode="numeric";
                label for="email" { "E-mail, if you like" }
                input #email name="email" type="email" autocomplete="email";
                button { "Order" }
            }
        }
        section {
            h2 { "Newest orders" }
            div #newest data-live {
                @if newest.is_empty() { p .quiet { "There are none yet." } }
                ul {
                    @for tracked in newest {
                        li {
                            a href={ "/orders/" (tracked.order.id) } { (title(tracked)) }
                            (badge(tracked.state()))
                        }
                    }
                }
                dl {
                    div { dt { "Orders" } dd { (counts.orders) } }
                    div { dt { "Receipts" } dd { (counts.receipts) } }
                    div { dt { "Charges" } dd { (counts.charges) } }
                    div { dt { "Charged twice" } dd { (counts.charged_twice) } }
                }
            }
        }
    };
    frame("Orders", false, &main)
}

/// Renders one order and its receipt.
pub(crate) fn order(tracked: &Tracked) -> Markup {
    let percent = (tracked.progress() * 100.0).round();
    let main = html! {
        section {
            h2 { (title(tracked)) }
            // A screen reader announces a new state, and not each step.
            p #state .state role="status" data-live { (badge(tracked.state())) span { (summary(tracked)) } }
            // The script of the store follows the job. Without it, the bar is as it was when the page was loaded.
            bgtask-progress src=[tracked.events.as_deref()] aria-label="Progress of the receipt" {
                progress max="100" value=(percent) {}
                span .quiet { (step(tracked)) }
            }
            p #failure .quiet data-live { (failure(tracked)) }
            div #receipt data-live {
                @if let Some(receipt) = &tracked.receipt { pre aria-label="Receipt" { (receipt.body) } }
            }
            p { a href="/" { "Place another order" } }
        }
    };
    frame(&title(tracked), !tracked.state().has_ended(), &main)
}

pub(crate) fn problem(sentence: &str) -> Markup {
    let main = html! {
        section {
            p role="alert" { (sentence) }
            p { a href="/" { "Back to the shop" } }
        }
    };
    frame("Orders", false, &main)
}

fn title(tracked: &Tracked) -> String {
    format!("{} × {}", tracked.order.quantity, tracked.order.item)
}

fn badge(state: JobState) -> Markup {
    html! { span class={ "badge " (state.as_str()) } { (state.as_str()) } }
}

fn summary(tracked: &Tracked) -> String {
    let end = match tracked.state() {
        JobState::Done => "The receipt is there",
        JobState::Dead | JobState::Cancelled => "There will be no receipt",
        _ => "The receipt is on its way",
    };
    let crashes = tracked.job.as_ref().map_or(0, |job| job.crashes);
    match (tracked.attempts(), crashes) {
        (0 | 1, 0) => format!("{end}."),
        (attempts, 0) => format!("{end}: attempt {attempts}."),
        (attempts, 1) => format!("{end}: attempt {attempts}, after 1 crash."),
        (attempts, crashes) => format!("{end}: attempt {attempts}, after {crashes} crashes."),
    }
}

/// Returns what the job is doing.
fn step(tracked: &Tracked) -> &str {
    let running = tracked
        .job
        .as_ref()
        .filter(|job| job.state == JobState::Running);
    match running.and_then(|job| job.progress.as_ref()) {
        Some(progress) => &progress.note,
        None => tracked.state().as_str(),
    }
}

/// Returns why the last attempt failed.
fn failure(tracked: &Tracked) -> String {
    let job = tracked.job.as_ref().filter(|_| tracked.receipt.is_none());
    match job.and_then(|job| job.last_error.as_ref()) {
        Some(error) => format!("The last attempt that failed: {error}"),
        None => String::new(),
    }
}

fn frame(title: &str, reloads: bool, main: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " – bgtask" }
                link rel="icon" href="data:,";
                link rel="stylesheet" href="/style.css";
                script src="/jobs/bgtask-live.js" defer {}
                script src="/live.js" defer {}
                @if reloads { noscript { meta http-equiv="refresh" content="1"; } }
            }
            body {
                header {
                    h1 { a href="/" { "Orders" } }
                    p { "A shop whose receipts survive " code { "kill -9" } }
                }
                p #away role="alert" hidden {
                    "The shop does not answer. Start it again, and this page goes on: " code { "cargo run -p orders" }
                }
                main { (main) }
                section {
                    h2 { "Kill the shop" }
                    p { "The button sends SIGKILL to the shop: it ends in the middle of its work. Start it again, and each receipt arrives, once:" }
                    pre { "cargo run -p orders" }
                    p { "Or start a worker in another terminal first. It takes over within seconds of the kill:" }
                    pre { "cargo run -p orders -- worker" }
                    form method="post" action="/kill" { button .danger { "Kill the shop" } }
                }
            }
        }
    }
}
