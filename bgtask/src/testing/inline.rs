//! Runs a call on the thread that makes it: to its end, or to the first point at which it waits. Must never know the records.

use super::alarm::within;
use crate::observe::dispatch::{Launch, LaunchWork};
use crate::util::sync::unmodelled::{Mutex, MutexGuard};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

type Call = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs the call. Fails if we wait for the end of the call and it takes longer than `limit`.
pub(super) fn run(
    launch: Launch,
    limit: Duration,
    blocked: impl FnOnce() -> String + Send + 'static,
) -> Result<(), NotEnded> {
    let Launch { runtime, work, .. } = launch;
    match (work, Waiting::here()) {
        (LaunchWork::Blocking(call, _), Waiting::OnWorker) => block_in_place(call),
        (LaunchWork::Blocking(call, _), Waiting::Impossible) => call(),
        (LaunchWork::Blocking(call, _), Waiting::OutsideRuntime) => {
            let _entered = runtime.enter();
            call();
        }
        (LaunchWork::Async(call), Waiting::Impossible) => begin(&runtime, call),
        (LaunchWork::Async(call), Waiting::OnWorker) => {
            return block_in_place(|| run_to_end(&runtime, call, limit, blocked));
        }
        (LaunchWork::Async(call), Waiting::OutsideRuntime) => {
            return run_to_end(&runtime, call, limit, blocked);
        }
    }
    Ok(())
}

#[derive(Debug)]
pub(super) struct NotEnded;

/// Whether this thread may wait for a future.
enum Waiting {
    /// The thread is one of several workers, and the others continue meanwhile.
    OnWorker,
    /// The thread runs no tasks.
    OutsideRuntime,
    /// The thread is the only one that runs tasks, so waiting would block all of them.
    Impossible,
}

impl Waiting {
    fn here() -> Self {
        match Handle::try_current() {
            Err(_) => Waiting::OutsideRuntime,
            Ok(here) if here.runtime_flavor() == RuntimeFlavor::MultiThread => Waiting::OnWorker,
            Ok(_) => Waiting::Impossible,
        }
    }
}

fn run_to_end(
    runtime: &Handle,
    call: Call,
    limit: Duration,
    blocked: impl FnOnce() -> String + Send + 'static,
) -> Result<(), NotEnded> {
    let ended = runtime.block_on(within(limit, blocked, call));
    ended.ok_or(NotEnded)
}

/// Polls the call once, and spawns the rest on the runtime.
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

/// A call that was first polled on another thread. Its first waker wakes the spawned task.
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
        self.relay.set_target(cx.waker());
        self.poll_call()
    }
}

/// The waker of the call, from its first poll on. No wake-up is lost before it has a target, because the runtime polls a task
/// that was spawned.
#[derive(Default)]
struct Relay(Mutex<Option<Waker>>);

impl Relay {
    fn set_target(&self, waker: &Waker) {
        let waker = waker.clone();
        let before = self.lock().replace(waker);
        // After the lock: dropping a waker may run user code.
        drop(before);
    }

    /// Held to move or to clone a waker.
    fn lock(&self) -> MutexGuard<'_, Option<Waker>> {
        self.0.lock()
    }
}

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        let target = self.lock().clone();
        // After the lock: waking may run user code.
        if let Some(target) = target {
            target.wake();
        }
    }
}
