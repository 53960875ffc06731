//! The start-up self-check: which functions are linked, name conflicts, and what the build makes impossible.
//! Reads the list of handlers and logs; changes nothing.

use crate::handler::{DefinedAt, Handler, handlers};
use crate::util::log::{mention, report};
use std::sync::Once;
use tracing::level_filters::LevelFilter;

/// Runs the check, once per process.
pub(crate) fn self_check() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| check(&handlers(), cfg!(panic = "abort")));
}

fn check(handlers: &[&'static Handler], panics_abort: bool) {
    if panics_abort {
        report!(
            warn,
            "built with panic = \"abort\": a panic in a background task aborts the process"
        );
    }
    // The handlers are sorted by name, so two with the same name are adjacent. Blocks may share a name, with each other and with
    // functions: one location in a macro's repetition yields several handlers, and two locations may do the same thing.
    let functions = handlers
        .iter()
        .copied()
        .filter(|function| !function.is_block());
    let functions: Vec<_> = functions.collect();
    for pair in functions.windows(2) {
        if let [first, second] = pair
            && first.name() == second.name()
        {
            report!(error, "two background functions have the same name: set `name = \"…\"` on one of them";
                name = first.name(), first = DefinedAt(first), second = DefinedAt(second));
        }
    }
    if handlers.is_empty() {
        mention!(
            debug,
            "no linked background functions; to link a crate that no code refers to, add \
            `use that_crate as _;`"
        );
    } else if LevelFilter::current() >= LevelFilter::DEBUG {
        let names: Vec<_> = handlers.iter().map(ToString::to_string).collect();
        mention!(debug, "linked background functions"; count: handlers.len(), functions = names.join(", "));
    }
}
