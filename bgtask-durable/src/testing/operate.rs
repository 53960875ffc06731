//! The kit's store as those see it who operate jobs: the same answers as of a database, from the rows of one test.

use super::Memory;
use crate::engine::no_schedule;
use crate::jobs::Operations;
use crate::operate::{
    AttemptError, Edit, Filter, JobContent, JobDetails, QueueInfo, ScheduleInfo, Stats, Throughput,
    WorkerInfo,
};
use bgtask::durable::{BoxFuture, JobError, JobId, JobState, JobStatus};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

impl Operations for Memory {
    fn name(&self) -> String {
        "the store of a test".to_owned()
    }

    fn stats(&self) -> BoxFuture<'_, Result<Stats, JobError>> {
        Box::pin(async move {
            let mut rows = self.rows();
            let mut stats = Stats::default();
            for job in rows.all(Instant::now()) {
                let queue = stats.queues.entry(job.queue).or_default();
                *queue.jobs.entry(job.state).or_insert(0) += 1;
                if job.state == JobState::Waiting {
                    let waits = rows.get(job.id).map(|row| row.due.elapsed());
                    queue.oldest_waiting = queue.oldest_waiting.max(waits);
                }
            }
            for queue in &rows.paused {
                stats.queues.entry(queue.clone()).or_default().is_paused = true;
            }
            Ok(stats)
        })
    }

    fn throughput(&self) -> BoxFuture<'_, Result<Throughput, JobError>> {
        Box::pin(async { Ok(Throughput::default()) })
    }

    fn list(&self, filter: Filter) -> BoxFuture<'_, Result<Vec<JobStatus>, JobError>> {
        Box::pin(async move { Ok(self.rows().list(&filter, Instant::now())) })
    }

    fn matching(&self, filter: Filter) -> BoxFuture<'_, Result<u64, JobError>> {
        Box::pin(async move {
            let all = Filter {
                limit: u32::MAX,
                ..filter
            };
            Ok(self.rows().list(&all, Instant::now()).len() as u64)
        })
    }

    fn details(&self, id: JobId) -> BoxFuture<'_, Result<JobDetails, JobError>> {
        Box::pin(async move {
            let (now, wall) = (Instant::now(), self.wall());
            let mut rows = self.rows();
            let status = rows.status(id, now)?;
            let row = rows.get(id).ok_or(JobError::Gone)?;
            let at = |time: Instant| on_the_wall(time, now, wall);
            Ok(JobDetails {
                priority: row.priority,
                is_unique: row.unique.is_some(),
                stored_at: at(row.stored),
                due_at: at(row.due),
                claimed_at: row.claimed.map(at),
                ended_at: row.ended.map(at),
                tick: row.tick,
                keep: Some(row.keep),
                worker: None,
                errors: row
                    .failed
                    .iter()
                    .map(|(time, attempt, message)| AttemptError {
                        at: humantime::format_rfc3339_millis(at(*time)).to_string(),
                        attempt: *attempt,
                        message: message.clone(),
                    })
                    .collect(),
                status,
            })
        })
    }

    fn content(&self, id: JobId) -> BoxFuture<'_, Result<JobContent, JobError>> {
        Box::pin(async move {
            let mut rows = self.rows();
            rows.status(id, Instant::now())?;
            let row = rows.get(id).ok_or(JobError::Gone)?;
            Ok(JobContent::new(row.arguments.clone(), row.output.clone()))
        })
    }

    fn queues(&self) -> BoxFuture<'_, Result<Vec<QueueInfo>, JobError>> {
        Box::pin(async move {
            let stats = self.stats().await?;
            let wall = self.wall();
            let queue = stats.queues.into_iter().map(|(name, queue)| {
                QueueInfo::new(name, queue.is_paused.then_some(wall), queue.oldest_waiting)
            });
            Ok(queue.collect())
        })
    }

    fn workers(&self, _: Duration) -> BoxFuture<'_, Result<Vec<WorkerInfo>, JobError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn schedules(&self) -> BoxFuture<'_, Result<Vec<ScheduleInfo>, JobError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn set_paused(&self, queue: String, is_paused: bool) -> BoxFuture<'_, Result<(), JobError>> {
        Box::pin(async move {
            if is_paused {
                self.rows().paused.insert(queue);
            } else {
                self.rows().paused.remove(&queue);
            }
            self.note_change();
            Ok(())
        })
    }

    fn set_schedule_paused(
        &self,
        function: String,
        _: Option<String>,
    ) -> BoxFuture<'_, Result<bool, JobError>> {
        Box::pin(async move { Err(no_schedule(&function)) })
    }

    fn run_schedule(&self, function: String) -> BoxFuture<'_, Result<JobId, JobError>> {
        Box::pin(async move { Err(no_schedule(&function)) })
    }

    fn retry_dead(&self, filter: Filter) -> BoxFuture<'_, Result<u64, JobError>> {
        Box::pin(async move {
            let now = Instant::now();
            let filter = Filter {
                limit: u32::MAX,
                ..filter.state(JobState::Dead)
            };
            let mut count = 0;
            {
                let mut rows = self.rows();
                for job in rows.list(&filter, now) {
                    // An error says that another job has its key, and it stays dead.
                    count += u64::from(rows.retry_now(job.id, now).unwrap_or(false));
                }
            }
            self.note_change();
            Ok(count)
        })
    }

    fn edit(&self, id: JobId, edit: Edit) -> BoxFuture<'_, Result<bool, JobError>> {
        Box::pin(async move {
            let wall = self.wall();
            let is_edited = self.rows().edit(id, edit, Instant::now(), wall)?;
            self.note_change();
            Ok(is_edited)
        })
    }

    fn delete(&self, id: JobId) -> BoxFuture<'_, Result<bool, JobError>> {
        Box::pin(async move {
            let is_deleted = self.rows().delete(id, Instant::now())?;
            self.note_change();
            Ok(is_deleted)
        })
    }

    fn prune(&self) -> BoxFuture<'_, Result<u64, JobError>> {
        Box::pin(async move { Ok(self.rows().prune(Instant::now())) })
    }
}

/// Returns a time of the runtime's clock by the wall clock of the test.
fn on_the_wall(time: Instant, now: Instant, wall: SystemTime) -> SystemTime {
    let moved = if time >= now {
        wall.checked_add(time - now)
    } else {
        wall.checked_sub(now - time)
    };
    moved.unwrap_or(wall)
}
