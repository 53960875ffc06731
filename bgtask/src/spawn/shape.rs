//! The bounds of the work that `spawn!` takes, each under a name that the compiler shows with an explanation.
//! They ask for nothing but what is written behind the colon.

/// A future.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a future",
    label = "not a future: the caller evaluates this",
    note = "`spawn!` takes a future, or a closure that is written in place: for work that blocks, `move || work()`"
)]
pub trait FutureWork: Future {}

#[diagnostic::do_not_recommend]
impl<F: Future> FutureWork for F {}

/// A closure of which `retry` runs a copy in each attempt. The compiler names this trait where a capture is not `Clone`.
pub trait ClonedByRetry: Clone {}

impl<C: Clone> ClonedByRetry for C {}
