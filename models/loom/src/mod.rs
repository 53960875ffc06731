//! The models that loom runs: every order of the steps of two or three threads.
//! Owns how a model is run; each file has the invariants of its models.

mod groups;
#[path = "../../src/model.rs"]
mod model;
mod protocol;
mod slots;
mod state;
pub(crate) mod sync;
mod tokens;

pub(crate) use model::is_broken;
pub use model::{Model, break_on_purpose};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// All models.
pub fn all() -> Vec<Model> {
    [
        protocol::MODELS,
        state::MODELS,
        slots::MODELS,
        tokens::MODELS,
        groups::MODELS,
    ]
    .concat()
}

/// Runs a model in every order of its steps: first with loads that return the newest value, then with loads that return older
/// values where their ordering allows them. Returns the number of orders.
///
/// # Panics
/// Panics in the first order in which the invariant does not hold.
pub fn check(model: &Model) -> u64 {
    model::be_quiet();
    [true, false]
        .map(|newest| {
            sync::atomic::see_the_newest(newest);
            explore(model)
        })
        .into_iter()
        .sum()
}

fn explore(model: &Model) -> u64 {
    let mut builder = loom::model::Builder::new();
    builder.max_branches = 10_000;
    // The environment overrides the model.
    builder.preemption_bound = builder.preemption_bound.or(model.preemptions);
    let tried = Arc::new(AtomicU64::new(0));
    let counter = tried.clone();
    let run = model.run;
    builder.check(move || {
        // Relaxed: both checkers run all threads of a model on one.
        counter.fetch_add(1, Ordering::Relaxed);
        run();
    });
    tried.load(Ordering::Relaxed)
}

/// Spawns a thread of the model, with a stack that has room for the message of a panic.
fn spawn<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> loom::thread::JoinHandle<T> {
    loom::thread::Builder::new()
        .stack_size(0x8000)
        .spawn(work)
        .expect("loom allows another thread")
}

fn join<T>(thread: loom::thread::JoinHandle<T>) -> T {
    thread.join().expect("a panic ends the model")
}
