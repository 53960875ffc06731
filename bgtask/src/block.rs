//! What the expansion of `spawn!` calls: from a block or a closure at its place to the call path that functions take.
//! Owns how a closure gets its token and its states, and what is known of an output nobody has named; knows no policy.

use crate::classify::{Always, ByDebug, ByDisplay, ByError, ByType, DisplayProbe, Judge};
use crate::handler::Handler;
use crate::launch::{begin, launch, launch_blocking};
use crate::pipeline::{Attempts, Keys, begin_with, launch_with};
use crate::policy::{Fallible, Origin, RetryWhen, Share, ShareProbe, retry_when};
use crate::{Group, ShutdownToken, TaskHandle};
use pin_project_lite::pin_project;
use std::future::Future;
use std::marker::PhantomData;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Starts a future.
///
/// The probe comes first, in this and in all that follow: the type that the caller expects reaches the work through it
/// before the compiler looks at the work. Each is written out by hand: if a macro wrote them, the compiler's notes would
/// show that macro.
#[inline]
#[track_caller]
pub fn run_future<T, F, J>(
    _: BlockProbe<T>,
    work: F,
    judge: impl FnOnce(BlockProbe<T>) -> J,
    handler: &'static Handler,
) -> TaskHandle<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
    J: Judge<T>,
{
    launch(begin(handler), work, judge(BlockProbe::NEW))
}

/// Starts a closure that makes a future. The task calls it, so that all of its code is the task's.
#[inline]
#[track_caller]
pub fn run_making<T, C, F, J>(
    _: BlockProbe<T>,
    work: C,
    judge: impl FnOnce(BlockProbe<T>) -> J,
    handler: &'static Handler,
) -> TaskHandle<T>
where
    C: FnOnce() -> F + Send + 'static,
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
    J: Judge<T>,
{
    launch(begin(handler), Made::by(work), judge(BlockProbe::NEW))
}

/// Starts a closure that makes a future and takes the token.
#[inline]
#[track_caller]
pub fn run_making_with_token<T, C, F, J>(
    _: BlockProbe<T>,
    work: C,
    judge: impl FnOnce(BlockProbe<T>) -> J,
    handler: &'static Handler,
) -> TaskHandle<T>
where
    C: FnOnce(ShutdownToken) -> F + Send + 'static,
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
    J: Judge<T>,
{
    let run = begin(handler);
    let token = run.token();
    launch(run, Made::by(move || work(token)), judge(BlockProbe::NEW))
}

/// Starts a closure on the blocking pool.
#[inline]
#[track_caller]
pub fn run_blocking<T, C, J>(
    _: BlockingProbe<T>,
    work: C,
    judge: impl FnOnce(BlockingProbe<T>) -> J,
    handler: &'static Handler,
) -> TaskHandle<T>
where
    C: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
    J: Judge<T>,
{
    launch_blocking(begin(handler), work, judge(BlockingProbe::NEW))
}

/// Starts a closure that takes the token on the blocking pool.
#[inline]
#[track_caller]
pub fn run_blocking_with_token<T, C, J>(
    _: BlockingProbe<T>,
    work: C,
    judge: impl FnOnce(BlockingProbe<T>) -> J,
    handler: &'static Handler,
) -> TaskHandle<T>
where
    C: FnOnce(ShutdownToken) -> T + Send + 'static,
    T: Send + 'static,
    J: Judge<T>,
{
    let run = begin(handler);
    let token = run.token();
    launch_blocking(run, move || work(token), judge(BlockingProbe::NEW))
}

/// What depends on the output's type, asked for once that is known: how it is judged, which failures are tried again, and
/// how it is shared.
type Answers<T, J> = (J, RetryWhen<T>, Share<T>);

/// Starts a future under policies.
#[track_caller]
pub fn run_future_with<T, F, J>(
    _: BlockProbe<T>,
    keys: Keys,
    work: F,
    answers: impl FnOnce(BlockProbe<T>) -> Answers<T, J>,
    handler: &'static Handler,
) -> TaskHandle<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
    J: Judge<T>,
{
    let call = begin_with(handler, keys, Origin::Call);
    let (judge, when, share) = answers(BlockProbe::NEW);
    launch_with(call, Attempts::once(work), when, share, judge)
}

/// Starts a closure that makes a future under policies, once.
#[track_caller]
pub fn run_making_with<T, S, C, F, J>(
    _: BlockProbe<T>,
    keys: Keys,
    work: C,
    states: impl FnOnce(&'static Handler) -> Result<S, TaskHandle<T>>,
    answers: impl FnOnce(BlockProbe<T>) -> Answers<T, J>,
    handler: &'static Handler,
) -> TaskHandle<T>
where
    C: FnOnce(ShutdownToken, S) -> F + Send + 'static,
    F: Future<Output = T> + Send + 'static,
    S: Send + 'static,
    T: Send + 'static,
    J: Judge<T>,
{
    let states = match states(handler) {
        Ok(states) => states,
        Err(refused) => return refused,
    };
    let call = begin_with(handler, keys, Origin::Call);
    let token = call.token();
    let attempts = Attempts::once(Made::by(move || work(token, states)));
    let (judge, when, share) = answers(BlockProbe::NEW);
    launch_with(call, attempts, when, share, judge)
}

/// Starts a closure that makes a future, a copy of it for each attempt.
#[track_caller]
pub fn run_making_again<T, S, C, F, J>(
    _: BlockProbe<T>,
    keys: Keys,
    work: C,
    states: impl FnOnce(&'static Handler) -> Result<S, TaskHandle<T>>,
    answers: impl FnOnce(BlockProbe<T>) -> Answers<T, J>,
    handler: &'static Handler,
) -> TaskHandle<T>
where
    C: FnOnce(ShutdownToken, S) -> F + Clone + Send + 'static,
    F: Future<Output = T> + Send + 'static,
    S: Clone + Send + 'static,
    T: Send + 'static,
    J: Judge<T>,
{
    let states = match states(handler) {
        Ok(states) => states,
        Err(refused) => return refused,
    };
    let call = begin_with(handler, keys, Origin::Call);
    let attempts = Attempts::again(move |token| {
        let (work, states) = (work.clone(), states.clone());
        Made::by(move || work(token, states))
    });
    let (judge, when, share) = answers(BlockProbe::NEW);
    launch_with(call, attempts, when, share, judge)
}

/// Starts a closure on the blocking pool under policies, once.
#[track_caller]
pub fn run_blocking_with<T, S, C, J>(
    _: BlockingProbe<T>,
    keys: Keys,
    work: C,
    states: impl FnOnce(&'static Handler) -> Result<S, TaskHandle<T>>,
    answers: impl FnOnce(BlockingProbe<T>) -> Answers<T, J>,
    handler: &'static Handler,
) -> TaskHandle<T>
where
    C: FnOnce(ShutdownToken, S) -> T + Send + 'static,
    S: Send + 'static,
    T: Send + 'static,
    J: Judge<T>,
{
    let states = match states(handler) {
        Ok(states) => states,
        Err(refused) => return refused,
    };
    let call = begin_with(handler, keys, Origin::Call);
    let attempts = Attempts::once_blocking(move |token| move || work(token, states));
    let (judge, when, share) = answers(BlockingProbe::NEW);
    launch_with(call, attempts, when, share, judge)
}

/// Starts a closure on the blocking pool, a copy of it for each attempt.
#[track_caller]
pub fn run_blocking_again<T, S, C, J>(
    _: BlockingProbe<T>,
    keys: Keys,
    work: C,
    states: impl FnOnce(&'static Handler) -> Result<S, TaskHandle<T>>,
    answers: impl FnOnce(BlockingProbe<T>) -> Answers<T, J>,
    handler: &'static Handler,
) -> TaskHandle<T>
where
    C: FnOnce(ShutdownToken, S) -> T + Clone + Send + 'static,
    S: Clone + Send + 'static,
    T: Send + 'static,
    J: Judge<T>,
{
    let states = match states(handler) {
        Ok(states) => states,
        Err(refused) => return refused,
    };
    let call = begin_with(handler, keys, Origin::Call);
    let attempts = Attempts::again_blocking(move |token| {
        let (work, states) = (work.clone(), states.clone());
        move || work(token, states)
    });
    let (judge, when, share) = answers(BlockingProbe::NEW);
    launch_with(call, attempts, when, share, judge)
}

/// Starts a call as a member of a group. `parts` hold the user's code, which has come to values by now: the calls that it made
/// on the way are no members.
pub fn run_in<T, P>(
    group: &Group,
    probe: BlockProbe<T>,
    parts: P,
    run: impl FnOnce(BlockProbe<T>, P) -> TaskHandle<T>,
) -> TaskHandle<T> {
    group.run(|| run(probe, parts))
}

/// Starts the call of a blocking closure as a member of a group, in the same way.
pub fn run_blocking_in<T, P>(
    group: &Group,
    probe: BlockingProbe<T>,
    parts: P,
    run: impl FnOnce(BlockingProbe<T>, P) -> TaskHandle<T>,
) -> TaskHandle<T> {
    group.run(|| run(probe, parts))
}

macro_rules! calls {
    ($($name:ident($($argument:ident: $ty:ident),*))*) => {$(
        /// Calls a closure and gives it up: an `async` closure called otherwise makes a future that borrows from it.
        pub fn $name<$($ty,)* R>(work: impl FnOnce($($ty),*) -> R, $($argument: $ty),*) -> R {
            work($($argument),*)
        }
    )*};
}
calls! {
    call_0()
    call_1(a: A)
    call_2(a: A, b: B)
    call_3(a: A, b: B, c: C)
    call_4(a: A, b: B, c: C, d: D)
    call_5(a: A, b: B, c: C, d: D, e: E)
    call_6(a: A, b: B, c: C, d: D, e: E, f: F)
}

pin_project! {
    /// A future that a closure makes when it is first polled.
    #[project = MadeProjection]
    #[project_replace = MadeTaken]
    enum Made<C, F> {
        Before { make: C },
        Runs { #[pin] future: F },
        // Only while the closure runs, or if it has panicked.
        Between,
    }
}

impl<C: FnOnce() -> F, F> Made<C, F> {
    fn by(make: C) -> Self {
        Self::Before { make }
    }
}

impl<C, F> Future for Made<C, F>
where
    C: FnOnce() -> F,
    F: Future,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        loop {
            match self.as_mut().project() {
                MadeProjection::Runs { future } => return Poll::Ready(ready!(future.poll(cx))),
                MadeProjection::Before { .. } => {
                    if let MadeTaken::Before { make } = self.as_mut().project_replace(Self::Between)
                    {
                        let future = make();
                        self.set(Self::Runs { future });
                    }
                }
                // It is polled after a panic, as no task is.
                MadeProjection::Between => return Poll::Pending,
            }
        }
    }
}

/// Asks what the output of a future is, as [`Probe`](crate::classify::Probe) does, and two questions before all others: is
/// it `()`, or a future that somebody forgot to await?
///
/// `()` comes first because the output of a block that never ends is of no type until somebody says one.
#[derive(Debug)]
pub struct BlockProbe<T>(PhantomData<fn() -> T>);

/// Asks the same of the output of a blocking closure.
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

/// How `()` is judged: it is no failure, and cannot be one.
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

// A handle is a future that need not be polled for its work to go on.
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

/// A future as what another one comes to.
#[diagnostic::on_unimplemented(
    message = "this work comes to a future, which nothing would poll",
    label = "its output is a future",
    note = "await it: `fetch(x).await`; work that only makes a future is written without `async`: `spawn!(\"…\", fetch(x))`"
)]
// Nothing has it: a future that is polled by others was found above.
pub trait AwaitedOutput {}

/// A future as what a blocking closure returns.
#[diagnostic::on_unimplemented(
    message = "this closure returns a future, which nothing would poll",
    label = "its output is a future",
    note = "write `async move {{ … }}`, or `move |token| async move {{ … }}` to have the token"
)]
// Nothing has it, as above.
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

/// The error of a `Result` whose type is known where the work starts, or turns out to have sources.
#[diagnostic::on_unimplemented(
    message = "what this background work returns is not known where it starts",
    label = "its error turns out to be `{Self}` only later",
    note = "say it in the work: `Ok::<_, {Self}>(…)`, or where its handle goes: `let handle: TaskHandle<Result<_, {Self}>> = …`"
)]
pub trait KnownError: std::error::Error {}

#[diagnostic::do_not_recommend]
impl<E: std::error::Error> KnownError for E {}

impl<T, E: KnownError> KnownErrorProbe<Result<T, E>> {
    pub fn classify(&self) -> ByKnownError {
        ByKnownError
    }
}

/// Judges as [`ByError`] does. Asks the same of the error as the probe, so that the compiler has one thing to say.
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

/// The judge of an output that may be a failure, or nothing that anybody looks at.
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

/// Has the compiler say that nothing can be retried, where that is so.
pub fn may_fail<J: MayFail>(judge: J) -> J {
    judge
}

/// The type of an output, to be passed on.
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

/// The predicate of `retry(when = …)`, over the error of an output of this type.
pub fn retry_block_when<T, P>(_: OutputType<T>, predicate: P) -> RetryWhen<T>
where
    T: Fallible + 'static,
    P: Fn(&T::Error) -> bool + Send + 'static,
{
    retry_when(predicate)
}

/// The probe for how an output of this type is shared.
pub fn share_of<T>(_: OutputType<T>) -> ShareProbe<T> {
    ShareProbe::NEW
}

/// Gives back the handle of a call that is refused once nobody holds it.
#[must_use = "with `overflow = \"wait\"` a call waits for room only as long as its handle is held: await it"]
pub fn held<T>(handle: TaskHandle<T>) -> TaskHandle<T> {
    handle
}
