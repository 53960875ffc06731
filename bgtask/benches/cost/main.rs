//! The cost of bgtask beside its peers. `cargo bench -p bgtask` measures everything and writes `docs/benchmarks.md` with
//! its plots; `-- instructions`, `-- time`, `-- threads` or `-- tasks` prints one part. `cargo bench -p bgtask -- guard` counts
//! instructions and fails if a call has become more expensive.
//!
//! Instructions decide, because they repeat exactly. Times are medians of rounds in which the ways take turns.
#![allow(clippy::print_stdout, reason = "printing is its purpose")]

mod call;
mod guard;
mod host;
mod page;
mod plot;
mod scale;
mod startup;
mod subscribers;
mod ways;

use host::Flavor;
use std::env;

fn main() {
    // Cargo adds `--bench`.
    let arguments: Vec<_> = env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => page::write(),
        ["guard"] => guard::check(),
        [section @ ("instructions" | "time" | "threads" | "tasks")] => page::show(section),
        ["run", way, subscriber, calls, times] => {
            let number = |text: &str| text.parse().expect("a number");
            call::run(way, subscriber, number(calls), number(times));
        }
        ["startup"] => startup::measure(),
        ["waves", way, flavor] => call::serve_waves(way, Flavor::named(flavor)),
        ["threads", way] => call::serve_threads(way),
        ["snapshots"] => print!("{}", scale::rows_of_snapshots()),
        ["fired"] => println!(
            "{} {}",
            scale::fired_to_accounted_bgtask(),
            scale::fired_to_accounted_idiom()
        ),
        ["memory", way] => scale::memory(way),
        _ => panic!("no arguments, the name of a section, or `guard`"),
    }
}
