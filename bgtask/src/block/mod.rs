//! The functions that the expansion of `spawn!` calls: from a block or a closure to the call path of functions.
//! Owns how a closure gets its token and its states; knows no policy.

mod probe;
mod shape;
mod shell;

pub use probe::{
    BlockProbe, BlockingProbe, may_fail, retry_block_always, retry_block_when, share_of,
};

use crate::call::launch::{begin, begin_at, launch, launch_blocking};
use crate::call::pipeline::{Attempts, Call, Keys, begin_with, begin_with_at, launch_with};
use crate::call::site::{CallSite, resolve};
use crate::handler::Handler;
use crate::policy::{Origin, RetryWhen, Share};
use crate::task::judge::Judge;
use crate::{CancelOnDrop, Group, Manager, ShutdownToken, TaskHandle};
use pin_project_lite::pin_project;
use shape::{ClonedByRetry, FutureWork};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Starts a future.
///
/// The probe comes first, here and below: through it, the type that the caller expects reaches the work before the compiler
/// checks the work. These functions are not written by a macro, because the compiler's notes would show that macro.
#[inline]
#[track_caller]
pub fn run_future<T, F, J>(
    _: BlockProbe<T>,
    work: F,
    judge: impl FnOnce(BlockProbe<T>) -> J,
    handler: &'static Handler,
) -> TaskHandle<T>
where
    F: FutureWork<Output = T> + Send + 'static,
    T: Send + 'static,
    J: Judge<T>,
{
    launch(begin(handler), work, judge(BlockProbe::NEW))
}

/// Starts a closure whose whole body is an `async` block: calling it here runs no user code.
#[inline]
#[track_caller]
pub fn run_made<T, C, F, J>(
    _: BlockProbe<T>,
    work: C,
    judge: impl FnOnce(BlockProbe<T>) -> J,
    handler: &'static Handler,
) -> TaskHandle<T>
where
    C: FnOnce() -> F + 'static,
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
    J: Judge<T>,
{
    launch(begin(handler), work(), judge(BlockProbe::NEW))
}

/// Starts such a closure that takes the token.
#[inline]
#[track_caller]
pub fn run_made_with_token<T, C, F, J>(
    _: BlockProbe<T>,
    work: C,
    judge: impl FnOnce(BlockProbe<T>) -> J,
    handler: &'static Handler,
) -> TaskHandle<T>
where
    C: FnOnce(ShutdownToken) -> F + 'static,
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
    J: Judge<T>,
{
    let run = begin(handler);
    let token = run.token();
    launch(run, work(token), judge(BlockProbe::NEW))
}

/// Starts a closure that makes a future after some statements. The task calls it, so that all its code runs in the task.
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

/// Starts a closure that makes a future from states, and maybe the token.
#[track_caller]
pub fn run_making_in_state<T, S, C, F, J>(
    _: BlockProbe<T>,
    work: C,
    states: impl FnOnce(&CallSite) -> Result<S, TaskHandle<T>>,
    judge: impl FnOnce(BlockProbe<T>) -> J,
    handler: &'static Handler,
) -> TaskHandle<T>
where
    C: FnOnce(ShutdownToken, S) -> F + Send + 'static,
    F: Future<Output = T> + Send + 'static,
    S: Send + 'static,
    T: Send + 'static,
    J: Judge<T>,
{
    let site = resolve(handler);
    let states = match states(&site) {
        Ok(states) => states,
        Err(refused) => return refused,
    };
    let run = begin_at(site);
    let token = run.token();
    let work = Made::by(move || work(token, states));
    launch(run, work, judge(BlockProbe::NEW))
}

/// Starts a closure on the blocking pool that takes states, and maybe the token.
#[track_caller]
pub fn run_blocking_in_state<T, S, C, J>(
    _: BlockingProbe<T>,
    work: C,
    states: impl FnOnce(&CallSite) -> Result<S, TaskHandle<T>>,
    judge: impl FnOnce(BlockingProbe<T>) -> J,
    handler: &'static Handler,
) -> TaskHandle<T>
where
    C: FnOnce(ShutdownToken, S) -> T + Send + 'static,
    S: Send + 'static,
    T: Send + 'static,
    J: Judge<T>,
{
    let site = resolve(handler);
    let states = match states(&site) {
        Ok(states) => states,
        Err(refused) => return refused,
    };
    let run = begin_at(site);
    let token = run.token();
    launch_blocking(run, move || work(token, states), judge(BlockingProbe::NEW))
}

/// The parts of a call that depend on the type of its output: the judge, the predicate of `retry`, and how joined calls share the
/// output. Created once the compiler knows that type.
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
    F: FutureWork<Output = T> + Send + 'static,
    T: Send + 'static,
    J: Judge<T>,
{
    let call = begin_with(handler, keys, Origin::Call);
    let (judge, when, share) = answers(BlockProbe::NEW);
    launch_with(call, Attempts::once(work), when, share, judge)
}

/// Takes the states, begins a call under policies and launches its attempts, or returns the handle of the refused call.
#[track_caller]
fn run_under_policies<T, S, J>(
    handler: &'static Handler,
    keys: Keys,
    states: impl FnOnce(&CallSite) -> Result<S, TaskHandle<T>>,
    attempts: impl FnOnce(&Call, S) -> Attempts<T>,
    answers: impl FnOnce() -> Answers<T, J>,
) -> TaskHandle<T>
where
    T: Send + 'static,
    J: Judge<T>,
{
    let site = resolve(handler);
    let states = match states(&site) {
        Ok(states) => states,
        Err(refused) => return refused,
    };
    let call = begin_with_at(site, keys, Origin::Call);
    let attempts = attempts(&call, states);
    let (judge, when, share) = answers();
    launch_with(call, attempts, when, share, judge)
}

/// Starts a closure that makes a future under policies, once.
#[track_caller]
pub fn run_making_with<T, S, C, F, J>(
    _: BlockProbe<T>,
    keys: Keys,
    work: C,
    states: impl FnOnce(&CallSite) -> Result<S, TaskHandle<T>>,
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
    let attempts = |call: &Call, states| {
        let token = call.token();
        Attempts::once(Made::by(move || work(token, states)))
    };
    run_under_policies(handler, keys, states, attempts, || answers(BlockProbe::NEW))
}

/// Starts a closure that makes a future, a copy of it for each attempt.
#[track_caller]
pub fn run_making_again<T, S, C, F, J>(
    _: BlockProbe<T>,
    keys: Keys,
    work: C,
    states: impl FnOnce(&CallSite) -> Result<S, TaskHandle<T>>,
    answers: impl FnOnce(BlockProbe<T>) -> Answers<T, J>,
    handler: &'static Handler,
) -> TaskHandle<T>
where
    C: FnOnce(ShutdownToken, S) -> F + ClonedByRetry + Send + 'static,
    F: Future<Output = T> + Send + 'static,
    S: Clone + Send + 'static,
    T: Send + 'static,
    J: Judge<T>,
{
    let attempts = |_: &Call, states: S| {
        Attempts::again(move |token| {
            let (work, states) = (work.clone(), states.clone());
            Made::by(move || work(token, states))
        })
    };
    run_under_policies(handler, keys, states, attempts, || answers(BlockProbe::NEW))
}

/// Starts a closure on the blocking pool under policies, once.
#[track_caller]
pub fn run_blocking_with<T, S, C, J>(
    _: BlockingProbe<T>,
    keys: Keys,
    work: C,
    states: impl FnOnce(&CallSite) -> Result<S, TaskHandle<T>>,
    answers: impl FnOnce(BlockingProbe<T>) -> Answers<T, J>,
    handler: &'static Handler,
) -> TaskHandle<T>
where
    C: FnOnce(ShutdownToken, S) -> T + Send + 'static,
    S: Send + 'static,
    T: Send + 'static,
    J: Judge<T>,
{
    let attempts =
        |_: &Call, states| Attempts::once_blocking(move |token| move || work(token, states));
    run_under_policies(handler, keys, states, attempts, || {
        answers(BlockingProbe::NEW)
    })
}

/// Starts a closure on the blocking pool, a copy of it for each attempt.
#[track_caller]
pub fn run_blocking_again<T, S, C, J>(
    _: BlockingProbe<T>,
    keys: Keys,
    work: C,
    states: impl FnOnce(&CallSite) -> Result<S, TaskHandle<T>>,
    answers: impl FnOnce(BlockingProbe<T>) -> Answers<T, J>,
    handler: &'static Handler,
) -> TaskHandle<T>
where
    C: FnOnce(ShutdownToken, S) -> T + ClonedByRetry + Send + 'static,
    S: Clone + Send + 'static,
    T: Send + 'static,
    J: Judge<T>,
{
    let attempts = |_: &Call, states: S| {
        Attempts::again_blocking(move |token| {
            let (work, states) = (work.clone(), states.clone());
            move || work(token, states)
        })
    };
    run_under_policies(handler, keys, states, attempts, || {
        answers(BlockingProbe::NEW)
    })
}

/// What stands behind `in`: a group, or a manager.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot stand behind `in`: expected a `bgtask::Group` or a `bgtask::Manager`",
    label = "expected `&group` or `&manager`"
)]
pub trait Owner {
    /// Has the calls that `work` makes belong to this.
    #[doc(hidden)]
    fn call<R>(&self, work: impl FnOnce() -> R) -> R;
}

impl Owner for Group {
    fn call<R>(&self, work: impl FnOnce() -> R) -> R {
        self.run(work)
    }
}

impl Owner for Manager {
    fn call<R>(&self, work: impl FnOnce() -> R) -> R {
        self.run(work)
    }
}

impl Owner for CancelOnDrop {
    fn call<R>(&self, work: impl FnOnce() -> R) -> R {
        self.run(work)
    }
}

impl<O: Owner + ?Sized> Owner for &O {
    fn call<R>(&self, work: impl FnOnce() -> R) -> R {
        (**self).call(work)
    }
}

impl<O: Owner + ?Sized> Owner for Arc<O> {
    fn call<R>(&self, work: impl FnOnce() -> R) -> R {
        (**self).call(work)
    }
}

impl<O: Owner + ?Sized> Owner for Box<O> {
    fn call<R>(&self, work: impl FnOnce() -> R) -> R {
        (**self).call(work)
    }
}

/// Starts a call that belongs to a group or a manager. `parts` are the values of the user's expressions: the calls made by their evaluation are
/// no members.
pub fn run_in<T, P>(
    owner: &impl Owner,
    probe: BlockProbe<T>,
    parts: P,
    run: impl FnOnce(BlockProbe<T>, P) -> TaskHandle<T>,
) -> TaskHandle<T> {
    owner.call(|| run(probe, parts))
}

/// Starts the call of a blocking closure that belongs to a group or a manager.
pub fn run_blocking_in<T, P>(
    owner: &impl Owner,
    probe: BlockingProbe<T>,
    parts: P,
    run: impl FnOnce(BlockingProbe<T>, P) -> TaskHandle<T>,
) -> TaskHandle<T> {
    owner.call(|| run(probe, parts))
}

/// Returns its argument: the handle of a call that is refused once the handle is dropped.
#[must_use = "with `overflow = \"wait\"` a call waits for room only as long as its handle is held: await it"]
pub fn held<T>(handle: TaskHandle<T>) -> TaskHandle<T> {
    handle
}

macro_rules! calls {
    ($($name:ident($($argument:ident: $ty:ident),*))*) => {$(
        /// Calls a closure and consumes it: the future of an `async` closure would borrow from it otherwise.
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
        // While the closure runs, and after its panic.
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
                // Polled after a panic, which no task does.
                MadeProjection::Between => return Poll::Pending,
            }
        }
    }
}
