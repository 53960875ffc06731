//! The tokens: created on first use, and fired nevertheless.
//! Each operation of `tokio_util` counts as one step.

use super::model::{ASYNC, Model, holds, tracker};
use super::slots::filled;
use super::{join, spawn};
use crate::ShutdownToken;
use crate::stats::Outcome;
use crate::tracker::shared::Shared;
use crate::tracker::shutdown_state::Phase;
use crate::util::side_thread::SideThread;
use std::sync::Arc;

pub(super) const MODELS: &[Model] = &[
    Model {
        name: "token_beside_drain",
        invariant: "the drain fires every token, whenever it was created",
        run: token_beside_drain,
        mistakes: &["token_not_linked"],
        preemptions: None,
    },
    Model {
        name: "token_beside_cancel",
        invariant: "a call has one token: cancelling the call fires the token that others hold",
        run: token_beside_cancel,
        mistakes: &["token_made_twice"],
        preemptions: None,
    },
    Model {
        name: "token_beside_end",
        invariant: "a token that is first used after its call has ended still fires on shutdown",
        run: token_beside_end,
        mistakes: &["late_token_apart"],
        preemptions: None,
    },
];

/// Fires the tokens as the shutdown sequence does when draining starts.
fn fire(shared: &Arc<Shared>) {
    shared.shutdown.advance_to(Phase::Draining);
    shared.fire(&mut SideThread::new());
}

fn token_beside_drain() {
    let tracker = tracker();
    let task_ref = filled(&mut tracker.writer(), &ASYNC);
    let asks = [(); 2].map(|()| {
        let task_ref = task_ref.clone();
        spawn(move || task_ref.token())
    });
    fire(&tracker.shared);
    for token in asks.map(join) {
        holds!(
            token.is_some_and(|token| token.is_cancelled()),
            "a token was not fired"
        );
    }
    holds!(
        ShutdownToken::of_task(task_ref).is_cancelled(),
        "a token that was created late has not fired"
    );
}

fn token_beside_cancel() {
    let tracker = tracker();
    let task_ref = filled(&mut tracker.writer(), &ASYNC);
    let (other, ends) = (task_ref.clone(), task_ref.clone());
    let asks = spawn(move || other.token());
    let end = spawn(move || ends.end(Outcome::Succeeded));
    let cancelled = task_ref.token().map(|token| token.cancel()).is_some();
    let token = join(asks);
    join(end);
    if let (Some(token), true) = (token, cancelled) {
        holds!(token.is_cancelled(), "another token was fired");
    }
}

fn token_beside_end() {
    let tracker = tracker();
    let task_ref = filled(&mut tracker.writer(), &ASYNC);
    let (other, ends) = (task_ref.clone(), task_ref.clone());
    let end = spawn(move || ends.end(Outcome::Succeeded));
    let asks = spawn(move || {
        let token = ShutdownToken::of_task(other);
        // From two on they share the task's own.
        (token.clone(), token)
    });
    fire(&tracker.shared);
    join(end);
    let (first, second) = join(asks);
    for token in [first, second] {
        holds!(
            token.cancellation_token().is_cancelled() && token.is_cancelled(),
            "a token was not fired"
        );
    }
    drop(task_ref);
}
