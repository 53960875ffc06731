//! The state word of a slot by itself: transitions that several threads attempt at once.

use super::model::{Model, holds};
use super::{join, spawn};
use crate::tracker::state::{AddDrainWait, State, ToDetached, ToDone};
use std::sync::Arc;

pub(super) const MODELS: &[Model] = &[
    Model {
        name: "state_end",
        invariant: "of the end of a call, its abandonment and the drop of its handle, exactly one retires the call and one handles the output",
        run: state_end,
        mistakes: &["retired_twice", "done_though_detached"],
        preemptions: None,
    },
    Model {
        name: "state_reports",
        invariant: "observers are notified of the end of a call once, and of its start only before that",
        run: state_reports,
        mistakes: &["start_after_end"],
        preemptions: None,
    },
    Model {
        name: "state_drain_wait",
        invariant: "a call that waits for the drain is either not awaited or retired, never both",
        run: state_drain_wait,
        mistakes: &["retired_twice"],
        preemptions: None,
    },
];

/// The generation of the first call in a slot.
const FIRST: u32 = 0;

/// Returns the state word of a live call.
fn live() -> Arc<State> {
    let state = State::new();
    state.transition_to_live();
    Arc::new(state)
}

fn state_end() {
    let state = live();
    // Each thread returns how many times it retired the call, and how many times it handled the output.
    let ends = {
        let state = state.clone();
        spawn(move || match state.transition_to_done(FIRST) {
            ToDone::Done(before) => (u32::from(before.is_live()), 0),
            ToDone::Detached => {
                let before = state.transition_to_free(FIRST);
                let before = before.expect("only the end frees the slot of a detached call");
                (u32::from(before.is_live()), 1)
            }
        })
    };
    let abandons = {
        let state = state.clone();
        spawn(move || {
            let before = state.transition_to_abandoned(FIRST, false);
            u32::from(before.is_some())
        })
    };
    let handled = match state.transition_to_detached(FIRST) {
        ToDetached::Running => 0,
        ToDetached::Done => {
            state.free_done(FIRST);
            1
        }
    };
    let (retired, handled_at_end) = join(ends);
    let retired = retired + join(abandons);
    holds!(retired == 1, "the call was retired {retired} times");
    let handled = handled + handled_at_end;
    holds!(handled == 1, "the output was handled {handled} times");
    holds!(state.free_generation() == FIRST + 1, "{state:?}");
}

fn state_reports() {
    let state = live();
    let starts = {
        let state = state.clone();
        spawn(move || state.claim_start(FIRST))
    };
    let abandons = {
        let state = state.clone();
        spawn(move || state.transition_to_abandoned(FIRST, false))
    };
    let end = state.claim_end(FIRST);
    let is_started = join(starts);
    let abandoned = join(abandons).expect("nobody else retires the call");
    let ends = u32::from(end.is_some()) + u32::from(!abandoned.is_end_reported());
    holds!(ends == 1, "observers were notified of {ends} ends");
    let end = end.unwrap_or(abandoned);
    holds!(
        end.is_start_reported() == is_started,
        "observers were notified of the start after the end"
    );
}

fn state_drain_wait() {
    let state = live();
    let abandons = {
        let state = state.clone();
        spawn(move || state.transition_to_abandoned(FIRST, false).is_some())
    };
    let is_awaited = state.add_drain_wait(FIRST) == AddDrainWait::IsAwaited;
    let waits = is_awaited && state.transition_to_not_awaited(FIRST);
    let is_abandoned = join(abandons);
    holds!(
        waits != is_abandoned,
        "waits: {waits}, abandoned: {is_abandoned}"
    );
    if waits {
        holds!(
            state.remove_drain_wait(FIRST) && state.load().is_awaited(),
            "the drain does not wait for the call again"
        );
    }
}
