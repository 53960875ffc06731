//! What keeps the tables in order: due jobs, expired jobs, cancelled jobs, and claimed jobs that do not run.
//! Knows nothing of how a job is claimed or run.

use super::{Shared, mark};
use crate::engine::Error;
#[cfg(test)]
use crate::mechanisms::Mechanism;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often jobs whose time has come are made available.
const PROMOTE: Duration = Duration::from_millis(100);

/// How often the ends of attempts are counted in the database. It is one row of all processes: with ten times as many statements, a
/// hundred processes would wait for each other.
const COUNT: Duration = Duration::from_secs(2);

/// How often jobs are deleted whose time in the database is over.
const PRUNE: Duration = Duration::from_secs(60);

/// Makes due jobs available, deletes expired jobs, and puts claimed jobs back that do not run.
pub(super) async fn upkeep(shared: Arc<Shared>, time_to_live: Duration) {
    let mut upkeep = Upkeep {
        shared,
        time_to_live,
        are_queues_made: false,
        is_unparked: false,
        pruned: None,
        counted: None,
        asked: None,
        looked: None,
        not_held: Vec::new(),
    };
    loop {
        if let Err(error) = upkeep.tend().await {
            tracing::warn!(target: "bgtask", %error, "due jobs could not be made available");
        }
        sleep(PROMOTE).await;
    }
}

struct Upkeep {
    shared: Arc<Shared>,
    time_to_live: Duration,
    are_queues_made: bool,
    is_unparked: bool,
    pruned: Option<Instant>,
    counted: Option<Instant>,
    /// When we last asked which running jobs are cancelled.
    asked: Option<Instant>,
    /// When we last checked for claimed jobs that do not run, and the jobs found.
    looked: Option<Instant>,
    not_held: Vec<(i64, String)>,
}

impl Upkeep {
    async fn tend(&mut self) -> Result<(), Error> {
        let shared = self.shared.clone();
        let database = &shared.database;
        if !self.are_queues_made {
            // River's own tools show them.
            for queue in shared.places.names() {
                database.make_queue(&queue).await?;
            }
            self.are_queues_made = true;
        }
        if !self.is_unparked {
            // This program may decode what the last one could not.
            database.unpark(&mark("unparked")).await?;
            self.is_unparked = true;
        }
        database.promote().await?;
        let is_due = |last: Option<Instant>, period| last.is_none_or(|at| at.elapsed() >= period);
        if is_due(self.pruned, PRUNE) {
            while database.prune().await? > 0 {}
            database.drop_minutes().await?;
            self.pruned = Some(Instant::now());
        }
        if is_due(self.counted, COUNT) {
            shared.store_ended().await;
            self.counted = Some(Instant::now());
        }
        if is_due(self.asked, self.time_to_live / 4) {
            self.cancel().await?;
            self.asked = Some(Instant::now());
        }
        if is_due(self.looked, self.time_to_live) {
            self.reconcile().await?;
        }
        Ok(())
    }

    /// Fires the tokens of jobs that another process has cancelled.
    async fn cancel(&self) -> Result<(), Error> {
        let Some(life) = self.shared.life().clone() else {
            return Ok(());
        };
        if self.shared.attempts.is_empty() {
            return Ok(());
        }
        for id in self.shared.database.cancelling(&life).await? {
            self.shared.attempts.cancel(id);
        }
        Ok(())
    }

    /// Puts jobs back that this process has claimed and does not hold: the reply to a claim was lost. One that is not held at two
    /// looks in a row is not on its way here.
    async fn reconcile(&mut self) -> Result<(), Error> {
        #[cfg(test)]
        if Mechanism::Reconciles.is_off(&self.shared.database) {
            return Ok(());
        }
        let Some(life) = self.shared.life().clone() else {
            return Ok(());
        };
        let running = self.shared.database.running_in(&life).await?;
        // Noted here, also if a later statement fails: the next look must not come sooner, because a claim that this one has found may
        // be on its way here for one time to live.
        self.looked = Some(Instant::now());
        let found: Vec<_> = {
            let held = self.shared.held();
            let not_held = running.into_iter().filter(|(id, _)| !held.contains_key(id));
            not_held.collect()
        };
        let (again, new): (Vec<_>, Vec<_>) = found
            .into_iter()
            .partition(|job| self.not_held.contains(job));
        self.not_held = new;
        let again = self.shared.note_put_back(again);
        if !again.is_empty() {
            let count = self
                .shared
                .database
                .put_back(&life, &again, &mark("put-back"))
                .await?;
            tracing::warn!(target: "bgtask", jobs = count, "put jobs back that were claimed and not run");
        }
        Ok(())
    }
}
