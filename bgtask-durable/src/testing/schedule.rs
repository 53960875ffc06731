//! The schedules of one test: each tick becomes a job of its store. The rules are those of the databases, with one process.

use bgtask::durable::{EncodedJob, JobId, NextTick, Ticks};
use std::time::{Duration, SystemTime};
use tokio::time::sleep;

/// The longest sleep: the wall clock of the test may be set.
const LONGEST_NAP: Duration = Duration::from_secs(30);

/// What a schedule asks of the store.
pub(super) trait TickStore {
    /// Stores a job at this time of the wall clock. Returns its id, or `None` if the store is closed.
    fn store_at(&self, job: EncodedJob, wall: SystemTime) -> Option<JobId>;

    /// Waits until a job has ended or is deleted, or the store is closed. Nobody has awaited its outcome by that.
    async fn until_ended(&self, id: JobId);
}

/// Stores a job for each tick. Returns when there is no further tick, or the store is closed.
pub(super) async fn tick(jobs: &impl TickStore, ticks: &Ticks) {
    let mut last = ticks.now();
    let mut job = None;
    if ticks.begins_immediately() {
        job = store(jobs, ticks, ticks.first_job(last));
    }
    loop {
        if let (Some(earlier), false) = (job, ticks.overlaps()) {
            ticks.note_next(None);
            // Its end does not matter, nor whether it was deleted.
            jobs.until_ended(earlier).await;
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
                job = store(jobs, ticks, ticks.job(tick, now));
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
fn store(jobs: &impl TickStore, ticks: &Ticks, job: EncodedJob) -> Option<JobId> {
    // The clock of the schedule: it has advanced with that of the test.
    let id = jobs.store_at(job, ticks.now())?;
    ticks.note_run();
    Some(id)
}
