//! The claims of one life: which jobs this process takes, and when.
//! Knows nothing of how a claimed job runs, and no statements.

use super::Shared;
use super::attempt::Held;
use super::places::Due;
use crate::PAUSE;
use crate::engine::Claims;
use crate::lease::Life;
use crate::lock;
use bgtask::durable::Function;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

/// How long the program may take to provide the state of all durable functions before the others are logged.
const STATE_WAIT: Duration = Duration::from_secs(2);

/// The shortest time from one claim that found jobs to the next, in which the jobs that are stored or end meanwhile gather: each
/// claim is a transaction.
const COOLDOWN: Duration = Duration::from_millis(5);

/// The same after a claim that found none.
const COOLDOWN_OF_EMPTY: Duration = Duration::from_millis(1);

/// The task that claims jobs in one life. Aborted when this is dropped: what it has claimed meanwhile, the lease returns.
#[derive(Debug)]
pub(super) struct Claiming {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Claiming {
    /// Starts to claim, until the shutdown is requested.
    pub(super) fn start(shared: &Arc<Shared>, life: &Life) -> Self {
        *shared.life() = Some(life.id.clone());
        lock(&shared.put_back).clear();
        let stop = CancellationToken::new();
        let claimer = Claimer {
            shared: shared.clone(),
            worker: format!("{}.1", life.id),
            lost: life.lost.clone(),
            functions: Vec::new(),
        };
        Self {
            task: tokio::spawn(claimer.run(stop.clone())),
            stop,
        }
    }

    /// Ends the claims. One that is under way hands its jobs over.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits until no claim is under way any more.
    pub(super) async fn ended(&mut self) {
        // It is not awaited again, and does not panic.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Claiming {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Claimer {
    shared: Arc<Shared>,
    worker: String,
    lost: CancellationToken,
    /// The names under which the functions are stored whose state is provided.
    functions: Vec<&'static str>,
}

impl Claimer {
    async fn run(mut self, stop: CancellationToken) {
        let shared = self.shared.clone();
        tokio::select! {
            // A claim is not dropped halfway: its jobs would wait for the lease.
            () = self.claim(&stop) => {}
            () = shared.host.runtime_ended() => {
                shared.health.is_over("the manager's runtime has ended without a shutdown: no durable jobs are claimed any more");
                tracing::error!(target: "bgtask",
                    "the manager's runtime has ended without a shutdown: this process claims no durable jobs any more");
            }
        }
    }

    /// Claims until the shutdown is requested, or this is stopped.
    async fn claim(&mut self, stop: &CancellationToken) {
        let shared = self.shared.clone();
        let mut stateless = Stateless::new(&shared);
        let mut poll = interval(shared.database.poll());
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next = Instant::now();
        loop {
            let may_claim = next <= Instant::now();
            let due = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = shared.host.stopping() => return,
                provided = stateless.provided() => {
                    self.functions.extend(provided);
                    shared.places.wake(None);
                    continue;
                }
                _ = poll.tick() => {
                    shared.places.wake(None);
                    continue;
                }
                () = sleep_until(next), if !may_claim => continue,
                due = shared.places.due(), if may_claim && !self.functions.is_empty() => due,
            };
            let began = Instant::now();
            let mut pause = COOLDOWN_OF_EMPTY;
            for queue in due {
                pause = pause.max(self.claim_from(&queue).await);
            }
            next = began + pause;
        }
    }

    /// Claims from one queue. Returns the pause until the next claim.
    async fn claim_from(&self, queue: &Due) -> Duration {
        let shared = &self.shared;
        let claims = Claims {
            worker: &self.worker,
            queue: &queue.name,
            functions: &self.functions,
            limit: queue.free,
        };
        let claimed = match shared.database.claim(&claims).await {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::warn!(target: "bgtask", %error, queue = &*queue.name, "jobs could not be claimed");
                shared.places.again(queue);
                return PAUSE;
            }
        };
        if claimed.is_empty() {
            return COOLDOWN_OF_EMPTY;
        }
        if claimed.len() == queue.free {
            shared.places.again(queue);
        }
        for claimed in claimed {
            let (held, place) = (
                Held::new(shared, claimed.claim.id),
                shared.places.take(queue),
            );
            // A task of its own: this one may end, and the attempt goes on.
            tokio::spawn(shared.clone().take(held, place, claimed, self.lost.clone()));
        }
        COOLDOWN
    }
}

/// The functions whose state is not provided. Their jobs are left for other processes.
struct Stateless {
    waiting: JoinSet<Function>,
    functions: Vec<Function>,
    /// When they are logged, if they have not been in this process.
    logged_at: Option<Instant>,
}

impl Stateless {
    fn new(shared: &Shared) -> Self {
        let mut functions: Vec<Function> = shared.functions.values().copied().collect();
        functions.sort_by_key(Function::name);
        functions.dedup_by_key(|function| function.name());
        let mut waiting = JoinSet::new();
        for function in functions.iter().copied() {
            let host = shared.host.clone();
            waiting.spawn(async move {
                host.provided(function).await;
                function
            });
        }
        // Relaxed: one life follows the other, and nothing else is published with it.
        let is_first = !shared.has_claimed.swap(true, Ordering::Relaxed);
        Self {
            waiting,
            functions,
            logged_at: is_first.then(|| Instant::now() + STATE_WAIT),
        }
    }

    /// Waits until the state of some functions is provided, and returns the names under which their jobs are stored. Cancel safe.
    async fn provided(&mut self) -> Vec<&'static str> {
        loop {
            let found = tokio::select! {
                Some(Ok(found)) = self.waiting.join_next() => found,
                () = at(self.logged_at) => {
                    self.log();
                    continue;
                }
            };
            let mut provided = vec![found];
            while let Some(Ok(found)) = self.waiting.try_join_next() {
                provided.push(found);
            }
            let is_provided =
                |function: &Function| provided.iter().any(|found| found.name() == function.name());
            self.functions.retain(|function| !is_provided(function));
            let names = provided
                .iter()
                .flat_map(|function| [Some(function.name()), function.was()]);
            return names.flatten().collect();
        }
    }

    fn log(&mut self) {
        self.logged_at = None;
        if !self.functions.is_empty() {
            let names: Vec<_> = self.functions.iter().map(Function::name).collect();
            tracing::warn!(target: "bgtask", functions = names.join(", "),
                "the jobs of these functions are not claimed yet: call `bgtask::provide` with each value that they take as `State<_>`");
        }
    }
}

/// Waits until a time, or for ever.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
