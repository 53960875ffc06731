//! The bounds of the work that `spawn!` takes, under names that the compiler shows with an explanation.
//! Each requires only its supertrait.

/// A future.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a future",
    label = "not a future: the caller evaluates this",
    note = "`spawn!` takes a future, or a closure that is written in place: for work that blocks, `move || work()`"
)]
pub trait FutureWork: Future {}

#[diagnostic::do_not_recommend]
impl<F: Future> FutureWork for F {}

/// A closure that `retry` clones for each attempt. The compiler names this trait where a capture is not `Clone`.
pub trait ClonedByRetry: Clone {}

impl<C: Clone> ClonedByRetry for C {}
