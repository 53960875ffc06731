//! The start-up self-check: what is linked, what clashes, what the build makes impossible.
//! Reads the list of handlers and reports; changes nothing.

use crate::handler::{Handler, handlers};
use crate::util::log::{mention, report};
use std::sync::Once;
use tracing::level_filters::LevelFilter;

/// Runs the check, once a process.
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
    let functions = handlers.iter().copied().filter(|own| !own.is_block());
    let functions: Vec<_> = functions.collect();
    for pair in functions.windows(2) {
        if let [first, second] = pair
            && first.name() == second.name()
        {
            report!(error, "two background functions have the same name: set `name = \"…\"` on one of them";
                name = first.name(), first = DefinedAt(first), second = DefinedAt(second));
        }
    }
    // What nobody listens to at debug level is not said otherwise.
    if handlers.is_empty() {
        mention!(
            debug,
            "no background functions are linked; to link a crate that no code refers to, add \
            `use that_crate as _;`"
        );
    } else if LevelFilter::current() >= LevelFilter::DEBUG {
        let names: Vec<_> = handlers.iter().map(ToString::to_string).collect();
        mention!(debug, "linked background functions"; count: handlers.len(), functions = names.join(", "));
    }
}

/// Where a function stands.
pub(crate) struct DefinedAt(pub(crate) &'static Handler);

impl std::fmt::Display for DefinedAt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.0.file(), self.0.line())
    }
}
