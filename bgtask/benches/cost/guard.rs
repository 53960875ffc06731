//! The regression guard: instructions of one call as a multiple of a bare spawn's, in the same run. Both change with the
//! compiler and the allocator; their ratio changes little.

use crate::call::{Pattern, instructions};
use crate::subscribers;
use crate::ways::{
    BARE, BGTASK, BGTASK_ARGUMENT, BGTASK_GROUP, BGTASK_MANAGER, BGTASK_PLAIN, BGTASK_STATE,
    BGTASK_TOKEN, BLOCK, BLOCK_RETRY, BLOCK_TIMEOUT, BLOCK_TOKEN, SPAWN_BLOCKING, WITH_ALL,
    WITH_COALESCE, WITH_CONCURRENCY, WITH_RATE, WITH_RETRY, WITH_TIMEOUT,
};
use std::process;

/// The last measured ratios and the peer of each; see docs/benchmarks.md.
const LAST: &[(&str, Pattern, &str, f64)] = &[
    (BGTASK, Pattern::Waves, BARE, 0.80),
    (BGTASK, Pattern::FirstBurst, BARE, 2.1),
    (BGTASK_TOKEN, Pattern::Waves, BARE, 0.86),
    (BGTASK_MANAGER, Pattern::Waves, BARE, 0.94),
    // Goal: a member costs at most 1.3 times a call outside groups.
    (BGTASK_GROUP, Pattern::Waves, BGTASK, 1.29),
    (BGTASK_ARGUMENT, Pattern::Waves, BGTASK, 1.03),
    // A state costs a look-up and a clone more than an argument: the call takes no policies.
    (BGTASK_STATE, Pattern::Waves, BGTASK_ARGUMENT, 1.10),
    (BGTASK_PLAIN, Pattern::Waves, SPAWN_BLOCKING, 1.4),
    (WITH_TIMEOUT, Pattern::Waves, BARE, 4.2),
    (WITH_RETRY, Pattern::Waves, BARE, 4.0),
    (WITH_CONCURRENCY, Pattern::Waves, BARE, 4.3),
    (WITH_COALESCE, Pattern::Waves, BARE, 7.2),
    (WITH_RATE, Pattern::Waves, BARE, 4.4),
    (WITH_ALL, Pattern::Waves, BARE, 7.7),
    (BLOCK, Pattern::Waves, BGTASK, 1.00),
    (BLOCK_TOKEN, Pattern::Waves, BGTASK_TOKEN, 1.00),
    (BLOCK_TIMEOUT, Pattern::Waves, WITH_TIMEOUT, 1.00),
    (BLOCK_RETRY, Pattern::Waves, WITH_RETRY, 1.00),
];

/// The tolerance. A size that falls into another class of the allocator alone costs 7 %.
const MARGIN: f64 = 1.10;

/// The tolerance where two threads meet for each call: such counts vary by a quarter between runs.
const MARGIN_OF_THREADS: f64 = 1.35;

/// The tolerance of a block, measured against a function with the same body.
const MARGIN_OF_BLOCKS: f64 = 1.03;

/// The number of counts behind so small a tolerance; the lowest is used, because the placement of allocations varies the count by
/// two percent.
const COUNTS_OF_BLOCKS: usize = 3;

pub(crate) fn check() {
    let mut is_dearer = false;
    for &(way, pattern, against, last) in LAST {
        let is_block = [BLOCK, BLOCK_TOKEN, BLOCK_TIMEOUT, BLOCK_RETRY].contains(&way);
        let counts = if is_block { COUNTS_OF_BLOCKS } else { 1 };
        let count = |way| {
            let counts = (0..counts).map(|_| instructions(way, subscribers::NONE, pattern));
            counts
                .collect::<Option<Vec<_>>>()?
                .into_iter()
                .reduce(f64::min)
        };
        let (Some(own), Some(theirs)) = (count(way), count(against)) else {
            println!("valgrind is not installed: nothing was checked");
            return;
        };
        let ratio = own / theirs;
        let limit = last
            * match against {
                _ if is_block => MARGIN_OF_BLOCKS,
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
