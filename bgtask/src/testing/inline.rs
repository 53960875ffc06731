//! Runs a call where it is made, as far as that goes: to its end, or to the first point at which it waits.
//! Knows nothing of what is noted of calls.

use super::wait::within;
use crate::observe::dispatch::{Launch, LaunchWork};
use crate::util::sync::unmodelled::Mutex;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

type Call = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs the call. `Err` if it has not come to its end within `limit`, where it was waited for.
pub(super) fn run(
    launch: Launch,
    limit: Duration,
    unheard: impl FnOnce() -> String + Send + 'static,
) -> Result<(), NotEnded> {
    let Launch { runtime, work, .. } = launch;
    match (work, waits()) {
        (LaunchWork::Blocking(call, _), Waits::WithinTheRuntime) => block_in_place(call),
        (LaunchWork::Blocking(call, _), Waits::NotAtAll) => call(),
        (LaunchWork::Blocking(call, _), Waits::Outside) => {
            let _entered = runtime.enter();
            call();
        }
        (LaunchWork::Async(call), Waits::NotAtAll) => begin(&runtime, call),
        (LaunchWork::Async(call), Waits::WithinTheRuntime) => {
            return block_in_place(|| to_its_end(&runtime, call, limit, unheard));
        }
        (LaunchWork::Async(call), Waits::Outside) => {
            return to_its_end(&runtime, call, limit, unheard);
        }
    }
    Ok(())
}

#[derive(Debug)]
pub(super) struct NotEnded;

/// How this thread may wait for a future.
enum Waits {
    /// It is one of several that run tasks, and the others go on meanwhile.
    WithinTheRuntime,
    /// It runs no tasks.
    Outside,
    /// Nothing would go on: it is the only one.
    NotAtAll,
}

fn waits() -> Waits {
    match Handle::try_current() {
        Err(_) => Waits::Outside,
        Ok(here) if here.runtime_flavor() == RuntimeFlavor::MultiThread => Waits::WithinTheRuntime,
        Ok(_) => Waits::NotAtAll,
    }
}

fn to_its_end(
    runtime: &Handle,
    call: Call,
    limit: Duration,
    unheard: impl FnOnce() -> String + Send + 'static,
) -> Result<(), NotEnded> {
    let ended = runtime.block_on(within(limit, unheard, call));
    ended.ok_or(NotEnded)
}

/// Polls the call once, and leaves to the runtime what that has not come to.
fn begin(runtime: &Handle, call: Call) {
    let relay = Arc::new(Relay::default());
    let mut begun = Begun {
        call,
        waker: relay.clone().into(),
        relay,
    };
    if begun.poll_call().is_pending() {
        drop(runtime.spawn(begun));
    }
}

/// A call that was begun elsewhere. What woke it there wakes it here.
struct Begun {
    call: Call,
    relay: Arc<Relay>,
    waker: Waker,
}

impl Begun {
    fn poll_call(&mut self) -> Poll<()> {
        let mut cx = Context::from_waker(&self.waker);
        self.call.as_mut().poll(&mut cx)
    }
}

impl Future for Begun {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.relay.leads_to(cx.waker());
        self.poll_call()
    }
}

/// The waker that the call is given from the beginning. What wakes it before it leads anywhere is not missed: a task that was
/// spawned is polled.
#[derive(Default)]
/// Locked for a move or a copy.
struct Relay(Mutex<Option<Waker>>);

impl Relay {
    fn leads_to(&self, waker: &Waker) {
        let waker = waker.clone();
        let before = self.0.lock().replace(waker);
        // After the lock: dropping a waker may run anybody's code.
        drop(before);
    }
}

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        let to = self.0.lock().clone();
        // After the lock, for the same reason.
        if let Some(to) = to {
            to.wake();
        }
    }
}
