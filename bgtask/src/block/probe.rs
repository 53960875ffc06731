//! Finds the kind of the output of a block at compile time, where the block stands: nothing names its type.
//! Uses method resolution as `task::judge` does; runs nothing.

use crate::TaskHandle;
use crate::policy::{Fallible, RetryWhen, ShareProbe, retry_when};
use crate::task::judge::{Always, ByDebug, ByDisplay, ByError, ByType, DisplayProbe, Judge};
use std::future::Future;
use std::marker::PhantomData;
use std::ops::Deref;

/// Decides what the output of a future is, as [`Probe`](crate::task::judge::Probe) does, after two questions of its own: is it `()`,
/// or a future that was not awaited?
///
/// `()` comes first, because the output of a block that never ends has no type until one is inferred.
#[derive(Debug)]
pub struct BlockProbe<T>(PhantomData<fn() -> T>);

/// Decides the same for the output of a blocking closure.
#[derive(Debug)]
pub struct BlockingProbe<T>(PhantomData<fn() -> T>);

#[derive(Debug)]
pub struct HandleProbe<T>(PhantomData<fn() -> T>);

#[derive(Debug)]
pub struct BlockingHandleProbe<T>(PhantomData<fn() -> T>);

#[derive(Debug)]
pub struct FutureProbe<T>(PhantomData<fn() -> T>);

#[derive(Debug)]
pub struct BlockingFutureProbe<T>(PhantomData<fn() -> T>);

#[derive(Debug)]
pub struct KnownErrorProbe<T>(PhantomData<fn() -> T>);

impl<T> BlockProbe<T> {
    pub const NEW: Self = Self(PhantomData);
}

impl<T> BlockingProbe<T> {
    pub const NEW: Self = Self(PhantomData);
}

/// The judge of `()`, which cannot be a failure.
#[derive(Debug)]
pub struct Nothing;

impl Judge<()> for Nothing {
    const CAN_FAIL: bool = false;
    fn failure((): &()) -> Option<String> {
        None
    }
}

impl BlockProbe<()> {
    pub fn classify(&self) -> Nothing {
        Nothing
    }
}

impl BlockingProbe<()> {
    pub fn classify(&self) -> Nothing {
        Nothing
    }
}

impl<T> Deref for BlockProbe<T> {
    type Target = HandleProbe<T>;

    fn deref(&self) -> &HandleProbe<T> {
        &HandleProbe(PhantomData)
    }
}

impl<T> Deref for BlockingProbe<T> {
    type Target = BlockingHandleProbe<T>;

    fn deref(&self) -> &BlockingHandleProbe<T> {
        &BlockingHandleProbe(PhantomData)
    }
}

// A handle is a future whose work continues without being polled.
impl<T> HandleProbe<TaskHandle<T>> {
    pub fn classify(&self) -> Always {
        Always
    }
}

impl<T> HandleProbe<tokio::task::JoinHandle<T>> {
    pub fn classify(&self) -> Always {
        Always
    }
}

impl<T> BlockingHandleProbe<TaskHandle<T>> {
    pub fn classify(&self) -> Always {
        Always
    }
}

impl<T> BlockingHandleProbe<tokio::task::JoinHandle<T>> {
    pub fn classify(&self) -> Always {
        Always
    }
}

impl<T> Deref for HandleProbe<T> {
    type Target = FutureProbe<T>;

    fn deref(&self) -> &FutureProbe<T> {
        &FutureProbe(PhantomData)
    }
}

impl<T> Deref for BlockingHandleProbe<T> {
    type Target = BlockingFutureProbe<T>;

    fn deref(&self) -> &BlockingFutureProbe<T> {
        &BlockingFutureProbe(PhantomData)
    }
}

/// A future as the output of a future.
#[diagnostic::on_unimplemented(
    message = "the output of this work is a future, which nothing would poll",
    label = "its output is a future",
    note = "await it: `fetch(x).await`; work that only makes a future is written without `async`: `spawn!(\"…\", fetch(x))`"
)]
// No type implements it: the futures that need no poll were found above.
pub trait AwaitedOutput {}

/// A future as the output of a blocking closure.
#[diagnostic::on_unimplemented(
    message = "this closure returns a future, which nothing would poll",
    label = "its output is a future",
    note = "await it in a closure that ends in an `async` block: `move || async move {{ fetch().await }}`",
    note = "with the token: `move |token| async move {{ serve(token).await }}`"
)]
// No type implements it, as above.
pub trait PolledOutput {}

impl<T: Future> FutureProbe<T> {
    pub fn classify(&self) -> Always
    where
        T: AwaitedOutput,
    {
        Always
    }
}

impl<T: Future> BlockingFutureProbe<T> {
    pub fn classify(&self) -> Always
    where
        T: PolledOutput,
    {
        Always
    }
}

impl<T> Deref for FutureProbe<T> {
    type Target = KnownErrorProbe<T>;

    fn deref(&self) -> &KnownErrorProbe<T> {
        &KnownErrorProbe(PhantomData)
    }
}

impl<T> Deref for BlockingFutureProbe<T> {
    type Target = KnownErrorProbe<T>;

    fn deref(&self) -> &KnownErrorProbe<T> {
        &KnownErrorProbe(PhantomData)
    }
}

/// The error of a `Result` whose type is known where the work starts, or which is an `Error`.
#[diagnostic::on_unimplemented(
    message = "what this background work returns is not known where it starts",
    label = "its error turns out to be `{Self}` only later",
    note = "name it in the work: `Ok::<_, {Self}>(…)`, or where its handle goes: `let handle: TaskHandle<Result<_, {Self}>> = …`"
)]
pub trait KnownError: std::error::Error {}

#[diagnostic::do_not_recommend]
impl<E: std::error::Error> KnownError for E {}

impl<T, E: KnownError> KnownErrorProbe<Result<T, E>> {
    pub fn classify(&self) -> ByKnownError {
        ByKnownError
    }
}

/// Judges as [`ByError`] does. Its bound is that of the probe, so that the compiler shows one error.
#[derive(Debug)]
pub struct ByKnownError;

impl<T, E: KnownError> Judge<Result<T, E>> for ByKnownError {
    const CAN_FAIL: bool = true;
    fn failure(output: &Result<T, E>) -> Option<String> {
        ByError::failure(output)
    }
}

impl<T> Deref for KnownErrorProbe<T> {
    type Target = DisplayProbe<T>;

    fn deref(&self) -> &DisplayProbe<T> {
        &DisplayProbe::NEW
    }
}

/// A judge of outputs that may be failures.
#[diagnostic::on_unimplemented(
    message = "work that returns nothing cannot fail, so there is nothing to retry",
    label = "this work returns `()`",
    note = "return a `Result`, or add `panics` or a `timeout`"
)]
pub trait MayFail {}

#[diagnostic::do_not_recommend]
impl MayFail for ByKnownError {}
#[diagnostic::do_not_recommend]
impl MayFail for ByDisplay {}
#[diagnostic::do_not_recommend]
impl MayFail for ByDebug {}
#[diagnostic::do_not_recommend]
impl MayFail for ByType {}
#[diagnostic::do_not_recommend]
impl MayFail for Always {}

/// Makes the compiler reject `retry` where nothing can fail.
pub fn may_fail<J: MayFail>(judge: J) -> J {
    judge
}

/// The type of an output, as a value.
pub(crate) type OutputType<T> = PhantomData<fn() -> T>;

impl<T> BlockProbe<T> {
    pub fn output(&self) -> OutputType<T> {
        PhantomData
    }
}

impl<T> BlockingProbe<T> {
    pub fn output(&self) -> OutputType<T> {
        PhantomData
    }
}

/// Returns the predicate of `retry(when = …)` for outputs of this type.
pub fn retry_block_when<T, P>(_: OutputType<T>, predicate: P) -> RetryWhen<T>
where
    T: Fallible + 'static,
    P: Fn(&T::Error) -> bool + Send + 'static,
{
    retry_when(predicate)
}

/// Returns `retry` without a predicate for outputs of this type.
pub fn retry_block_always<T>(_: OutputType<T>) -> RetryWhen<T> {
    RetryWhen::ALWAYS
}

/// Returns the probe that decides how an output of this type is shared.
pub fn share_of<T>(_: OutputType<T>) -> ShareProbe<T> {
    ShareProbe::NEW
}
