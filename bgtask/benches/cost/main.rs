//! What bgtask costs beside its peers. `cargo bench -p bgtask` measures everything and writes `docs/benchmarks.md` with
//! its plots, and with `-- instructions`, `-- time`, `-- threads` or `-- tasks` prints one part; `cargo bench -p bgtask -- guard` counts instructions and fails where a call has become dearer.
//!
//! Decided by instructions, which repeat exactly; times are medians of rounds in which the ways take turns.
#![allow(clippy::print_stdout, reason = "its output is what it is for")]

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
    let arguments: Vec<_> = env::args().skip(1).filter(|own| own != "--bench").collect();
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
