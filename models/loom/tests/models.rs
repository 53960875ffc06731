//! Every order of the steps of two or three threads; see `docs/models.md`.
#![allow(clippy::print_stdout)]

use bgtask_loom::models::{Model, all, break_on_purpose, check};

include!("../../src/harness.rs");

models! {
    call_beside_close
    call_finish_shutdown
    two_shutdowns
    tick_beside_request
    closed_for_good
    not_awaited_end
    not_awaited_beside_drain
    snapshot
    freed_slots
    state_end
    state_reports
    state_drain_wait
    end_beside_dropped_handle
    end_beside_join
    end_beside_deadline
    wait_beside_deadline
    end_beside_abort
    released_beside_next
    stale_ref_beside_next
    token_beside_drain
    token_beside_cancel
    token_beside_end
    member_beside_idle
    abort_beside_member
}
