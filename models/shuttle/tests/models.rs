//! Random schedules of the larger pieces; see `docs/models.md`.
#![allow(clippy::print_stdout)]

use bgtask_shuttle::models::{Model, all, break_on_purpose, check};

include!("../../src/harness.rs");

models! {
    permits
    changed_limit
    bounded_queue
    coalesce_join
    coalesce_trailing
    coalesce_abort
    coalesce_replace
    rate
    registry
    writers
    woken_by_cancel
    woken_by_drain
    handles
    shutdown
    essential_beside_main
    deadline
}
