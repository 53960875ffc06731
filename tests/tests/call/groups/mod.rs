//! Groups: calls that are awaited, cancelled and drained together, apart from all others.

mod end;
mod idle;
mod members;
mod policies;

use bgtask::{ShutdownToken, background};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Waker};
use tokio::sync::Semaphore;

/// Ends when `gate` has a permit.
#[background]
pub(crate) async fn waits_for(gate: Arc<Semaphore>) {
    gate.acquire().await.unwrap().forget();
}

#[background]
pub(crate) fn waits_for_blocking(gate: mpsc::Receiver<()>) {
    let _ = gate.recv();
}

#[background]
pub(crate) async fn until_cancelled(token: ShutdownToken) {
    token.cancelled().await;
}

pub(crate) fn gate() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(0))
}

/// Polls a future once, and returns whether it is ready.
pub(crate) fn is_ready(future: Pin<&mut impl Future>) -> bool {
    future
        .poll(&mut Context::from_waker(Waker::noop()))
        .is_ready()
}

#[background]
pub(crate) async fn echo(value: u32) -> u32 {
    value
}

#[background(concurrency = 1)]
pub(crate) async fn echo_limited(value: u32) -> u32 {
    value
}

#[background(concurrency = 1)]
pub(crate) async fn one_at_a_time(gate: Arc<Semaphore>) {
    gate.acquire().await.unwrap().forget();
}
