//! The regression guard: instructions of one call as a multiple of a bare spawn's, in the same run. Both change with the
//! compiler and the allocator; their ratio changes little.

use crate::call::{Pattern, instructions};
use crate::subscribers;
use crate::ways::{
    BARE, BGTASK, BGTASK_GROUP, BGTASK_MANAGER, BGTASK_PLAIN, BGTASK_TOKEN, SPAWN_BLOCKING,
    WITH_ALL, WITH_COALESCE, WITH_CONCURRENCY, WITH_RATE, WITH_RETRY, WITH_TIMEOUT,
};
use std::process;

/// What was measured last, and what it is measured against; see docs/benchmarks.md.
const LAST: &[(&str, Pattern, &str, f64)] = &[
    (BGTASK, Pattern::Waves, BARE, 0.80),
    (BGTASK, Pattern::FirstBurst, BARE, 2.1),
    (BGTASK_TOKEN, Pattern::Waves, BARE, 0.86),
    (BGTASK_MANAGER, Pattern::Waves, BARE, 0.94),
    // A member is to cost at most 1.3 times what another call does.
    (BGTASK_GROUP, Pattern::Waves, BGTASK, 1.29),
    (BGTASK_PLAIN, Pattern::Waves, SPAWN_BLOCKING, 1.4),
    (WITH_TIMEOUT, Pattern::Waves, BARE, 4.4),
    (WITH_RETRY, Pattern::Waves, BARE, 4.0),
    (WITH_CONCURRENCY, Pattern::Waves, BARE, 4.5),
    (WITH_COALESCE, Pattern::Waves, BARE, 7.2),
    (WITH_RATE, Pattern::Waves, BARE, 4.6),
    (WITH_ALL, Pattern::Waves, BARE, 7.7),
];

/// How much dearer it may become unnoticed: sizes that fall into another class of the allocator are worth 7 % alone.
const MARGIN: f64 = 1.10;

/// The same where two threads meet for each call: how they do is worth a quarter from run to run.
const MARGIN_OF_THREADS: f64 = 1.35;

pub(crate) fn check() {
    let mut is_dearer = false;
    for &(way, pattern, against, last) in LAST {
        let count = |way| instructions(way, subscribers::NONE, pattern);
        let (Some(own), Some(theirs)) = (count(way), count(against)) else {
            println!("valgrind is not installed: nothing was checked");
            return;
        };
        let ratio = own / theirs;
        let limit = last
            * match against {
                SPAWN_BLOCKING => MARGIN_OF_THREADS,
                _ => MARGIN,
            };
        let verdict = if ratio > limit { "TOO DEAR" } else { "ok" };
        println!(
            "{way}, {}: {own:.0} instructions, {ratio:.2} times {against}; limit {limit:.2}: {verdict}",
            pattern.name()
        );
        is_dearer |= ratio > limit;
    }
    if is_dearer {
        process::exit(1);
    }
}
