//! Reads for operators: histories of jobs, workers, queues, schedules, tables and settings.
//! Passes each request to its database; must never have a statement of its own, and never write.

use super::database::{Database, each};
use super::row::read_error;
use super::types::{Access, Error, FoundTables, Tables, arguments, micros, time};
use crate::OpenError;
use crate::operate::{
    Diagnosis, Filter, JobContent, JobDetails, Migrated, QueueInfo, ScheduleInfo, WorkerInfo,
};
use bgtask::durable::{JobError, JobId};
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant, SystemTime};

/// The arguments and the value of a job.
pub(super) type ContentRow = (String, Option<String>);

/// A worker: its id, its beat, when it registered, what it declares about itself, and the number of its jobs.
pub(super) type WorkerRow = (String, Option<i64>, Option<i64>, Option<String>, i64);

/// A queue, and since when it is paused.
pub(super) type QueueRow = (String, Option<i64>);

/// Settings, and the time of the database.
pub(super) type Measured = (Vec<(String, String)>, i64);

impl Database {
    /// Returns a job with its history.
    pub(crate) async fn details(&self, id: JobId) -> Result<JobDetails, JobError> {
        let (row, history) = each!(Self, self, database => database.details(id).await)?;
        Ok(history.details(row.status(id)))
    }

    /// Returns the arguments and the value of a job.
    pub(crate) async fn content(&self, id: JobId) -> Result<JobContent, JobError> {
        let (given, value) = each!(Self, self, database => database.content(id).await)?;
        let content = || {
            let value = value.map(arguments).transpose()?;
            Ok(JobContent::new(arguments(given)?, value))
        };
        content().map_err(|error: Error| read_error(&error))
    }

    /// Counts the jobs of a filter.
    pub(crate) async fn matching(&self, filter: &Filter) -> Result<u64, JobError> {
        each!(Self, self, database => database.matching(filter).await)
            .map_err(|error| read_error(&error))
    }

    /// Returns the workers, each with its beat, and those that only jobs still name.
    pub(crate) async fn workers(&self) -> Result<Vec<(WorkerInfo, Option<i64>)>, JobError> {
        let rows = each!(Self, self, database => database.worker_rows().await);
        let rows = rows.map_err(|error| read_error(&error))?;
        let worker = |(id, beat, started_at, about, running): WorkerRow| {
            let mut worker = WorkerInfo::new(id, about.as_deref());
            worker.started_at = started_at.map(time);
            worker.running = running.unsigned_abs();
            (worker, beat)
        };
        Ok(rows.into_iter().map(worker).collect())
    }

    /// Returns the queues that have jobs to run, are or were worked, or are paused, by their names.
    pub(crate) async fn queues(&self) -> Result<Vec<QueueInfo>, JobError> {
        let read = async {
            let rows = each!(Self, self, database => database.queue_rows().await)?;
            let mut rows: BTreeMap<_, _> = rows.into_iter().collect();
            // A worker makes the record of a queue a moment after it has registered.
            for (id, _, _, about, _) in each!(Self, self, database => database.worker_rows().await)?
            {
                let worker = WorkerInfo::new(id, about.as_deref());
                for (name, _) in worker.queues.unwrap_or_default() {
                    rows.entry(name).or_insert(None);
                }
            }
            let names: Vec<String> = rows.keys().cloned().collect();
            let waits = each!(Self, self, database => database.oldest_waiting(&names).await)?;
            let waits: HashMap<String, Option<f64>> = waits.into_iter().collect();
            let queue = |(name, paused_at): QueueRow| {
                let oldest = waits.get(&name).copied().flatten();
                // Below zero if its time has just come, by a clock that is set back.
                let oldest =
                    oldest.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default());
                QueueInfo::new(name, paused_at.map(time), oldest)
            };
            Ok(rows.into_iter().map(queue).collect())
        };
        read.await.map_err(|error: Error| read_error(&error))
    }

    /// Returns the schedules, by the names of their functions.
    pub(crate) async fn schedule_infos(&self) -> Result<Vec<ScheduleInfo>, JobError> {
        let (now, mut rows) = self.schedules().await.map_err(|error| read_error(&error))?;
        rows.sort_by(|one, other| one.function.cmp(&other.function));
        let schedule = rows.into_iter().map(|row| {
            let unseen = now.saturating_sub(row.seen_at).max(0).unsigned_abs();
            let mut schedule = ScheduleInfo::new(row.function, row.definition, time(row.last_tick));
            schedule.job = row.job.map(JobId::new);
            schedule.is_busy = row.is_busy;
            schedule.paused_at = row.pause.since.map(time);
            schedule.paused_by = row.pause.by;
            schedule.unseen_for = Duration::from_micros(unseen);
            schedule
        });
        Ok(schedule.collect())
    }

    /// Deletes all jobs whose time in the database is over. Returns their number.
    pub(crate) async fn prune_all(&self) -> Result<u64, JobError> {
        let mut count = 0;
        loop {
            match self.prune().await.map_err(|error| read_error(&error))? {
                0 => return Ok(count),
                batch => count += batch,
            }
        }
    }

    /// Returns the most connections of the pool.
    pub(crate) fn connections(&self) -> u32 {
        each!(Self, self, database => database.connections())
    }

    fn is_pooled(&self) -> bool {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => false,
            #[cfg(feature = "postgres")]
            Self::Postgres(database) => database.is_pooled(),
        }
    }

    async fn found_tables(&self) -> Result<FoundTables, OpenError> {
        each!(Self, self, database => database.found_tables().await)
    }

    /// Opens the database as it is, and examines it.
    pub(crate) async fn diagnose(url: &str, access: Access) -> Result<Diagnosis, OpenError> {
        let database = Self::open(url, as_it_is(access)).await?;
        let found = database.found_tables().await?;
        // The connection is there by now, so its making is not taken for a difference of the clocks.
        let begin = (Instant::now(), micros(SystemTime::now()));
        let (settings, now) = each!(Self, &database, database => database.measure().await)?;
        let taken = begin.0.elapsed();
        let diagnosis = Diagnosis {
            database: database.name(),
            version: found.version,
            known_version: found.known,
            missing: found.missing,
            triggers: found.triggers,
            clock_ahead_seconds: ahead(begin.1, now, taken),
            clock_error_seconds: taken.as_secs_f64(),
            is_pooled: database.is_pooled(),
            connections: database.connections(),
            settings: settings.into_iter().collect::<BTreeMap<_, _>>(),
        };
        database.close().await;
        Ok(diagnosis)
    }

    /// Brings the tables up to date, and returns what that has changed.
    pub(crate) async fn bring_up_to_date(url: &str, access: Access) -> Result<Migrated, OpenError> {
        let before = match Self::open(url, as_it_is(access.clone())).await {
            Ok(database) => {
                let found = database.found_tables().await?;
                database.close().await;
                Some(found)
            }
            // It is made now.
            Err(OpenError::Missing { .. }) => None,
            Err(error) => return Err(error),
        };
        let database = Self::open(url, access).await?;
        let now = database.found_tables().await?;
        database.close().await;
        let is_current = |found: &FoundTables| {
            found.version == now.version && found.missing.is_empty() && found.triggers.is_empty()
        };
        Ok(Migrated::new(
            before.as_ref().and_then(|found| found.version),
            now.version.unwrap_or_default(),
            !before.as_ref().is_some_and(is_current),
        ))
    }
}

fn as_it_is(access: Access) -> Access {
    Access {
        tables: Tables::Leave,
        ..access
    }
}

/// Returns by how many seconds this machine's clock is ahead of the database's, which was read between `begin` and `begin + taken`.
fn ahead(begin: i64, database: i64, taken: Duration) -> f64 {
    let middle = begin as f64 / 1e6 + taken.as_secs_f64() / 2.0;
    middle - database as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::ahead;
    use std::time::Duration;

    #[test]
    fn the_clock_is_compared_with_the_middle_of_the_question() {
        let taken = Duration::from_secs(2);
        assert!((ahead(10_000_000, 11_000_000, taken)).abs() < 1e-6);
        assert!((ahead(10_000_000, 1_000_000, taken) - 10.0).abs() < 1e-6);
    }
}
