//! The lease: this process beats, and declares workers dead that do not. It has its own thread, runtime and connections, so that
//! neither the program nor a stuck engine can make this process look dead.

mod judge;

use crate::ended::EndCounter;
use crate::engine::{self, Connection, Database, Seen};
use crate::health::Health;
#[cfg(test)]
use crate::mechanisms::Mechanism;
use crate::metrics::Figures;
use crate::operate::Announcement;
use judge::Judge;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// How a process shows that it lives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// The pause between two beats.
    pub(crate) beat: Duration,
    /// How long a beat may stay the same before its process counts as dead.
    pub(crate) time_to_live: Duration,
}

/// How the jobs of dead workers are rescued.
#[derive(Clone, Debug)]
pub(crate) struct Rescues {
    /// The number of crashes at which a job is dead.
    pub(crate) crash_limit: u32,
    /// Receives the ids of jobs that are dead.
    pub(crate) dead: mpsc::UnboundedSender<i64>,
    pub(crate) figures: Figures,
    pub(crate) ended: Arc<EndCounter>,
}

/// One life of this process among the workers of its database.
#[derive(Debug)]
pub(crate) struct Life {
    /// The worker id in the rows that this process claims, up to the dot.
    pub(crate) id: String,
    /// Fires when others have declared this life dead. Its claims are void.
    pub(crate) lost: CancellationToken,
}

/// The thread of the lease.
#[derive(Debug)]
pub(crate) struct Lease {
    lives: mpsc::Receiver<Life>,
    end: CancellationToken,
    ended: Option<oneshot::Receiver<()>>,
}

impl Lease {
    /// Starts the thread.
    pub(crate) fn start(
        database: Database,
        timing: Timing,
        rescues: Rescues,
        health: Arc<Health>,
        about: Announcement,
    ) -> std::io::Result<Self> {
        let (sender, lives) = mpsc::channel(1);
        let (done, ended) = oneshot::channel();
        let end = CancellationToken::new();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let stop = end.clone();
        std::thread::Builder::new()
            .name("bgtask-lease".to_owned())
            .spawn(move || {
                let beats = Beats {
                    database,
                    connection: None,
                    timing,
                    health,
                    about: about.text(),
                };
                runtime.block_on(run(beats, rescues, sender, stop));
                // Nobody may wait for it.
                let _ = done.send(());
            })?;
        Ok(Self {
            lives,
            end,
            ended: Some(ended),
        })
    }

    /// Returns the next life, once it is registered. `None` if the lease has ended.
    pub(crate) async fn next_life(&mut self) -> Option<Life> {
        self.lives.recv().await
    }

    /// Removes this process from the workers, when it has returned all its jobs, and ends the thread.
    pub(crate) async fn end(&mut self) {
        self.end.cancel();
        if let Some(ended) = self.ended.take() {
            let _ = ended.await;
        }
    }
}

/// Returns an id that no other life has.
fn new_id() -> String {
    format!(
        "{}{}-{:016x}",
        engine::WORKER,
        std::process::id(),
        fastrand::u64(..)
    )
}

async fn run(
    mut beats: Beats,
    rescues: Rescues,
    lives: mpsc::Sender<Life>,
    end: CancellationToken,
) {
    let (dead, to_rescue) = watch::channel(Vec::new());
    // A rescue may wait for a lock, and must not delay a beat.
    let rescue = tokio::spawn(rescue_all(beats.database.clone(), rescues, to_rescue));
    loop {
        let id = new_id();
        if end.run_until_cancelled(beats.register(&id)).await.is_none() {
            break;
        }
        let lost = CancellationToken::new();
        let life = Life {
            id: id.clone(),
            lost: lost.clone(),
        };
        let was_declared_dead = lives.send(life).await.is_ok()
            && end
                .run_until_cancelled(beats.live(&id, &dead))
                .await
                .is_some();
        if !was_declared_dead {
            // A statement may have been under way on the other connection.
            beats.connection = None;
            beats.unregister(&id).await;
            break;
        }
        tracing::error!(target: "bgtask", worker = id,
            "this process was declared dead: its jobs run elsewhere, and it starts anew");
        lost.cancel();
    }
    rescue.abort();
}

/// The beats of this process, on a connection of their own.
struct Beats {
    database: Database,
    connection: Option<Connection>,
    timing: Timing,
    health: Arc<Health>,
    /// What this process declares about itself.
    about: String,
}

impl Beats {
    async fn connection(&mut self) -> Result<&mut Connection, engine::Error> {
        self.database.connected(&mut self.connection).await
    }

    /// Makes this life known, however long the database cannot be reached.
    async fn register(&mut self, id: &str) {
        loop {
            let about = self.about.clone();
            let registered = match self.connection().await {
                Ok(connection) => connection.register(id, &about).await,
                Err(error) => Err(error),
            };
            match registered {
                Ok(()) => return self.health.beat(),
                Err(error) => self.failed(&error),
            }
            tokio::time::sleep(self.timing.beat).await;
        }
    }

    /// Beats until others have declared this life dead.
    async fn live(&mut self, id: &str, dead: &watch::Sender<Vec<Seen>>) {
        let mut judge = Judge::new(self.timing);
        #[cfg(test)]
        if Mechanism::CountsAnew.is_off(&self.database) {
            judge.ignore_own_lateness();
        }
        loop {
            match self.beat(id).await {
                Ok(None) => return,
                Ok(Some(seen)) => {
                    let found = judge.observe(Instant::now(), id, seen);
                    if !found.is_empty() {
                        dead.send_replace(found);
                    }
                }
                Err(error) => self.failed(&error),
            }
            tokio::time::sleep(self.timing.beat).await;
        }
    }

    /// Beats once, and returns the workers; `None` if this life has been declared dead.
    async fn beat(&mut self, id: &str) -> Result<Option<Vec<Seen>>, engine::Error> {
        let connection = self.connection().await?;
        if !connection.beat(id).await? {
            return Ok(None);
        }
        let seen = connection.workers().await;
        self.health.beat();
        seen.map(Some)
    }

    async fn unregister(&mut self, id: &str) {
        let removed = match self.connection().await {
            Ok(connection) => connection.unregister(id).await,
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            // Others remove it after its time to live.
            self.failed(&error);
        }
    }

    fn failed(&mut self, error: &engine::Error) {
        self.connection = None;
        tracing::warn!(target: "bgtask", %error, "the lease of durable jobs could not be renewed");
    }
}

/// Rescues the jobs of workers that are found dead.
async fn rescue_all(database: Database, rules: Rescues, mut dead: watch::Receiver<Vec<Seen>>) {
    let own = new_id();
    let mut marks = 0_u64;
    while dead.changed().await.is_ok() {
        let found = dead.borrow_and_update().clone();
        for worker in found {
            if let Err(error) = rescue(&database, &rules, &worker, &own, &mut marks).await {
                // They are found again with the next beat.
                tracing::warn!(target: "bgtask", %error, worker = worker.0, "jobs of a dead worker could not be rescued");
            }
        }
    }
}

async fn rescue(
    database: &Database,
    rules: &Rescues,
    worker: &Seen,
    own: &str,
    marks: &mut u64,
) -> Result<(), engine::Error> {
    let mut connection = database.connect().await?;
    let (mut available, mut dead) = (0_u64, 0_u64);
    loop {
        *marks += 1;
        let mark = format!("{own}#{marks}");
        let rescued = connection.rescue(worker, &mark, rules.crash_limit).await?;
        available += rescued.available;
        dead += rescued.dead.len() as u64;
        rules.figures.count_rescued(&rescued);
        rules.ended.count_dead(rescued.dead.len() as u64);
        for id in rescued.dead {
            tracing::error!(target: "bgtask", job = id, crashes = rules.crash_limit,
                "a job is dead: its process died too often");
            // The receiver is gone if the store is closed.
            let _ = rules.dead.send(id);
        }
        if !rescued.has_more {
            break;
        }
    }
    if available + dead > 0 {
        tracing::warn!(target: "bgtask", worker = worker.0, available, dead, "rescued the jobs of a dead worker");
    }
    Ok(())
}
