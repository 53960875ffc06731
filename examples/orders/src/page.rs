//! The page, rendered here: it works without JavaScript, and `live.js` keeps it up to date without a reload.
//! Knows nothing of the database.

use crate::shop::Tracked;
use crate::store::Counts;
use bgtask::durable::JobState;
use maud::{DOCTYPE, Markup, html};

/// The form, the newest orders and the counts.
pub(crate) fn home(newest: &[Tracked], counts: &Counts) -> Markup {
    let main = html! {
        section {
            h2 { "Place an order" }
            form method="post" action="/orders" {
                label for="item" { "Item" }
                input #item name="item" required maxlength="100" value="Kettle" autocomplete="off";
                label for="quantity" { "Quantity" }
                input #quantity name="quantity" type="number" required min="1" max="99" value="1" inputmode="numeric";
                button { "Order" }
            }
        }
        section {
            h2 { "Newest orders" }
            div #newest data-live {
                @if newest.is_empty() { p .quiet { "There are none yet." } }
                ul {
                    @for order in newest {
                        li {
                            a href={ "/orders/" (order.order.id) } { (title(order)) }
                            (badge(order.state()))
                        }
                    }
                }
                p .quiet {
                    (counts.orders) " orders, " (counts.receipts) " receipts, " (counts.charges) " charges, "
                    (counts.charged_twice) " charged twice"
                }
            }
        }
    };
    frame("Orders", false, &main)
}

/// One order, and its receipt.
pub(crate) fn order(order: &Tracked) -> Markup {
    let percent = (order.progress() * 100.0).round();
    let main = html! {
        section {
            h2 { (title(order)) }
            // Screen readers announce the state when it changes, and not each step.
            div #state role="status" data-live { (badge(order.state())) " " (sentence(order)) }
            div #progress data-live {
                progress max="100" value=(percent) aria-label="Progress of the receipt" {}
                p .quiet { (note(order)) }
            }
            div #receipt data-live {
                @if let Some(receipt) = &order.receipt { pre aria-label="Receipt" { (receipt.body) } }
            }
            p { a href="/" { "Place another order" } }
        }
    };
    frame(&title(order), !order.state().has_ended(), &main)
}

pub(crate) fn problem(sentence: &str) -> Markup {
    frame(
        "Orders",
        false,
        &html! { section { p role="alert" { (sentence) } p { a href="/" { "Back to the shop" } } } },
    )
}

fn title(order: &Tracked) -> String {
    format!("{} × {}", order.order.quantity, order.order.item)
}

fn badge(state: JobState) -> Markup {
    html! { span class={ "badge " (state.as_str()) } { (state.as_str()) } }
}

fn sentence(order: &Tracked) -> String {
    let crashes = order.job.as_ref().map_or(0, |job| job.crashes);
    let survived = match crashes {
        0 => String::new(),
        1 => " It survived a crash.".to_owned(),
        crashes => format!(" It survived {crashes} crashes."),
    };
    match order.state() {
        JobState::Done => format!("The receipt is there, after {}.{survived}", attempts(order)),
        JobState::Dead | JobState::Cancelled => format!("There will be no receipt.{survived}"),
        _ => format!("The receipt is on its way.{survived}"),
    }
}

fn attempts(order: &Tracked) -> String {
    match order.attempts() {
        1 => "1 attempt".to_owned(),
        attempts => format!("{attempts} attempts"),
    }
}

/// What the job is doing, or why its last attempt failed.
fn note(order: &Tracked) -> String {
    let Some(job) = &order.job else {
        return String::new();
    };
    match (order.state(), &job.progress, &job.last_error) {
        (JobState::Done, ..) => String::new(),
        (JobState::Running, Some(progress), _) => {
            format!("Attempt {}: {}", job.attempts, progress.note)
        }
        (_, _, Some(error)) => format!("Attempt {} failed: {error}", job.attempts),
        _ => "Waiting for a worker".to_owned(),
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
                script src="/live.js" defer {}
                @if reloads { noscript { meta http-equiv="refresh" content="1"; } }
            }
            body {
                header {
                    h1 { a href="/" { "Orders" } }
                    p { "A shop whose receipts survive " code { "kill -9" } "." }
                }
                p #away role="alert" hidden {
                    "The shop does not answer. Start it again, and this page continues: " code { "cargo run -p orders" }
                }
                main { (main) }
                section {
                    h2 { "Kill the shop" }
                    p {
                        "The button sends SIGKILL to this process. It stops at once, and so does this page. \
                         Start the shop again with the same command, and the receipts arrive:"
                    }
                    pre { "cargo run -p orders" }
                    p { "Or start a worker in another terminal first. It takes over 4 s after the kill:" }
                    pre { "cargo run -p orders -- worker" }
                    form method="post" action="/kill" { button .danger { "Kill the shop" } }
                }
            }
        }
    }
}
