//! The options of each attribute: one table each, what their values are, and how a handler's static has them.
//! Knows nothing of functions.

pub(crate) mod fields;
pub(crate) mod handler;
pub(crate) mod main;
pub(crate) mod task;
pub(crate) mod test;

use crate::arguments::has;

/// Returns the attribute that has an option of this name.
fn owner_of(name: &str) -> Option<&'static str> {
    if task::has_option(name) {
        Some("background")
    } else if has(main::OPTIONS, name) {
        Some("bgtask::main")
    } else {
        has(test::OPTIONS, name).then_some("bgtask::test")
    }
}

// The user's value, and the variant that it names.
const FLAVOR: &[(&str, &str)] = &[
    ("multi_thread", "MultiThread"),
    ("current_thread", "CurrentThread"),
];
