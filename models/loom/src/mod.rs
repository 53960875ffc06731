//! The models that loom runs: every order of the steps of two or three threads.
//! Owns how one is run; what each of them shows stands beside it.

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

/// Runs a model in every order of its steps, each load seeing the newest value, and then with loads that see older ones where
/// their ordering lets them. How many orders that were.
///
/// # Panics
/// In the first one in which the invariant does not hold.
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
    // What the environment says comes first.
    builder.preemption_bound = builder.preemption_bound.or(model.preemptions);
    let tried = Arc::new(AtomicU64::new(0));
    let counter = tried.clone();
    let run = model.run;
    builder.check(move || {
        // Relaxed: both checkers keep to one thread.
        counter.fetch_add(1, Ordering::Relaxed);
        run();
    });
    tried.load(Ordering::Relaxed)
}

/// A thread of the model. On a stack that leaves room for a panic's message.
fn spawn<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> loom::thread::JoinHandle<T> {
    loom::thread::Builder::new()
        .stack_size(0x8000)
        .spawn(work)
        .expect("loom has a thread to spare")
}

fn join<T>(thread: loom::thread::JoinHandle<T>) -> T {
    thread
        .join()
        .expect("it has panicked, and so ended the model")
}
