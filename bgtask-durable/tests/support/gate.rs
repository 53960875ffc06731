//! How far the test lets a job go, by the name that it gives the job. Knows nothing of stores.

use bgtask::Job;
use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};
use tokio::sync::watch;

static GATES: LazyLock<Mutex<HashMap<String, watch::Sender<u32>>>> = LazyLock::new(Mutex::default);

pub(crate) fn gate(name: &str) -> watch::Sender<u32> {
    let mut gates = GATES.lock().unwrap_or_else(PoisonError::into_inner);
    gates.entry(name.to_owned()).or_default().clone()
}

/// Takes three steps, each when the test lets it, stores its progress with this note after each, and ends after a fourth.
pub(crate) async fn take_steps(job: &Job, name: &str, note: impl Fn(u32) -> String) -> u32 {
    let mut open = gate(name).subscribe();
    for step in 1..=3 {
        open.wait_for(|open| *open >= step)
            .await
            .expect("the test is there");
        job.progress(f64::from(step) / 4.0, note(step));
    }
    open.wait_for(|open| *open >= 4)
        .await
        .expect("the test is there");
    7
}
