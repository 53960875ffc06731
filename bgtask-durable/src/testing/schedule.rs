//! The schedules of one test: each tick becomes a job of its store. The rules are those of the databases, with one process.

use super::memory::Memory;
use bgtask::durable::{EncodedJob, JobId, NextTick, Ticks};
use std::time::Duration;
use tokio::time::sleep;

/// The longest sleep: the wall clock of the test may be set.
const LONGEST_NAP: Duration = Duration::from_secs(30);

/// Stores a job for each tick. Returns when there is no further tick, or the store is closed.
pub(super) async fn tick(memory: &Memory, ticks: &Ticks) {
    let mut last = ticks.now();
    let mut job = None;
    if ticks.begins_immediately() {
        job = store(memory, ticks, ticks.first_job(last));
    }
    loop {
        if let (Some(earlier), false) = (job, ticks.overlaps()) {
            ticks.note_next(None);
            // Its end does not matter, nor whether it was deleted.
            memory.until_ended(earlier).await;
        }
        let now = ticks.now();
        match ticks.next(last, now) {
            NextTick::At(tick) => {
                ticks.note_next(Some(tick));
                let left = tick.duration_since(now).unwrap_or_default();
                sleep(left.min(LONGEST_NAP)).await;
            }
            NextTick::Due { tick, missed } => {
                last = tick;
                ticks.note_missed(missed);
                job = store(memory, ticks, ticks.job(tick, now));
                if job.is_none() {
                    return;
                }
            }
            NextTick::Skipped { until, missed } => {
                last = until;
                ticks.note_missed(missed);
            }
            NextTick::Corrected => last = now,
            _ => return,
        }
    }
}

/// Returns the job of the tick, or `None` if the store is closed.
fn store(memory: &Memory, ticks: &Ticks, job: EncodedJob) -> Option<JobId> {
    // The clock of the schedule: it has advanced with that of the test.
    let stored = memory.insert_at(vec![job], ticks.now()).ok()?;
    ticks.note_run();
    stored.first().map(|job| job.id)
}
