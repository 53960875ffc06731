//! The functions that several tests of the shutdown call.

use bgtask::{ShutdownToken, background};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

pub(crate) const SHORT: Duration = Duration::from_millis(50);

#[background]
pub(crate) async fn finishes_late(token: ShutdownToken, done: Arc<AtomicBool>) {
    token.cancelled().await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    done.store(true, Ordering::Relaxed);
}

#[background]
pub(crate) async fn ends_at_once() {}

#[background]
pub(crate) async fn holds_its_worker(gate: mpsc::Receiver<()>) {
    let _ = gate.recv();
}
