//! The part of the overview that shows what ended within the last hour and day, as bars. Must never know how it is counted.

use crate::dashboard::html::{Html, grouped};
use crate::operate::{EndCounts, HOUR, Minutes};

/// The height of the highest bar, in the units of the drawing.
const HEIGHT: f64 = 96.0;

/// The least height of a bar that stands for something.
const LEAST: f64 = 2.0;

pub(super) fn show(html: &mut Html, minutes: &Minutes) {
    html.panel("throughput", "Throughput", "", |html| {
        html.raw("<div class=\"charts\">");
        let hour = minutes.spans(60, 1);
        chart(html, "Last hour", "minute", "60 m ago", &hour);
        let day = minutes.spans(24, HOUR);
        chart(html, "Last 24 hours", "hour", "24 h ago", &day);
        html.raw("</div><p class=\"axis\"><span class=\"legend\"><span class=\"key key-started\"></span>done");
        html.raw("<span class=\"key key-failed\"></span>failed attempts</span></p>");
    });
}

/// Returns the attempts that failed, whether another followed or the job is dead.
fn failed(ended: &EndCounts) -> u64 {
    ended.retried + ended.dead
}

/// Adds the bars of spans, the last of which is now, with their sums as text.
fn chart(
    html: &mut Html,
    title: &'static str,
    span: &'static str,
    begin: &str,
    spans: &[EndCounts],
) {
    let mut sum = EndCounts::default();
    spans.iter().for_each(|ended| sum.add(*ended));
    let most = spans.iter().map(|ended| ended.done + failed(ended)).max();
    let most = most.unwrap_or(0);
    html.raw("<figure><figcaption><b>").text(title).raw("</b> ");
    html.text(grouped(sum.done)).raw(" done, ");
    number(html, sum.retried, "retried");
    html.raw(", ");
    number(html, sum.dead, "dead");
    html.raw("</figcaption><svg class=\"timeline\" preserveAspectRatio=\"none\" role=\"img\" viewBox=\"0 0 ");
    html.text(spans.len())
        .raw(" 100\" aria-label=\"")
        .text(title);
    html.text(format_args!(
        " by the {span}: {} done and {} failed attempts, at most {} in one {span}",
        grouped(sum.done),
        grouped(failed(&sum)),
        grouped(most)
    ));
    html.raw("\"><rect class=\"ground\" x=\"0\" y=\"99\" height=\"1\" width=\"")
        .text(spans.len())
        .raw("\"/>");
    for (place, ended) in spans.iter().enumerate() {
        let is_present = place + 1 == spans.len();
        let failures = height(failed(ended), most);
        bar(html, "failed", is_present, place, 99.0 - failures, failures);
        let done = height(ended.done, most);
        bar(
            html,
            "started",
            is_present,
            place,
            99.0 - failures - done,
            done,
        );
    }
    html.raw("</svg><p class=\"axis\"><span>").text(begin);
    html.raw("</span><span>at most ").text(grouped(most));
    html.raw(" in one ")
        .raw(span)
        .raw("</span><span>now</span></p></figure>");
}

fn number(html: &mut Html, number: u64, what: &'static str) {
    html.raw(if number == 0 {
        "<span>"
    } else {
        "<span class=\"bad\">"
    });
    html.text(grouped(number)).raw(" ").raw(what).raw("</span>");
}

fn height(number: u64, most: u64) -> f64 {
    if number == 0 {
        return 0.0;
    }
    (number as f64 / most.max(1) as f64 * HEIGHT).max(LEAST)
}

fn bar(
    html: &mut Html,
    class: &'static str,
    is_present: bool,
    place: usize,
    top: f64,
    height: f64,
) {
    if height == 0.0 {
        return;
    }
    html.raw("<rect class=\"").raw(class);
    html.raw(if is_present { " is-present" } else { "" });
    html.raw("\" width=\"0.8\" x=\"");
    html.text(format_args!("{place}.1")).raw("\" y=\"");
    html.text(format_args!("{:.1}", top.max(0.0)))
        .raw("\" height=\"");
    html.text(format_args!("{height:.1}")).raw("\"/>");
}
