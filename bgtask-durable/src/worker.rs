//! The worker: takes claimed jobs, runs them as calls of the manager, records their ends, and gives back what still runs.
//! Knows nothing of how a job is claimed or when another process counts as dead.

use crate::engine::{
    Cancelled, Claim, Claimed, Claiming, Database, Engine, Error, HandOver, Record, Work,
};
use crate::holding::{Attempts, Holding};
use crate::lease::{Lease, Life};
use crate::lock;
#[cfg(test)]
use crate::mechanisms::Mechanism;
use crate::operate::Filter;
use crate::stored::Stored;
use crate::watch::Watch;
use bgtask::durable::{ClaimedJob as _, Function, Host, JobError, JobId, StopReason, Verdict};
use serde_json::value::RawValue;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::convert::Infallible;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::task::Poll;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// How often jobs whose time has come are made available.
const PROMOTE: Duration = Duration::from_millis(100);

/// How often jobs are deleted whose time in the database is over.
const PRUNE: Duration = Duration::from_secs(60);

/// How long the program may take to provide the state of all durable functions before the others start without the rest.
const STATE_WAIT: Duration = Duration::from_secs(2);

/// The shortest time between two records of the progress of one attempt.
const PROGRESS: Duration = Duration::from_millis(250);

/// The pause after a failed statement.
const PAUSE: Duration = Duration::from_millis(200);

/// From when on ends that could not be recorded are an error.
const PENDING_LIMIT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 30 });

/// How many ends one transaction records at most.
const BATCH: usize = 200;

/// The state that the tasks of the worker share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) database: Database,
    pub(crate) host: Host,
    pub(crate) watch: Watch,
    /// The client that stores jobs. Where the database does not notify, the claiming client once there is one, so that an insert
    /// wakes it.
    front: Mutex<Engine>,
    functions: HashMap<&'static str, Function>,
    ends: mpsc::Sender<End>,
    /// The claimed jobs of this process whose end is not recorded.
    held: Mutex<HashSet<i64>>,
    released: Notify,
    /// The attempts that run, for cancellations.
    attempts: Attempts,
    store: OnceLock<Weak<Stored>>,
    /// The life in which this process claims jobs.
    life: Mutex<Option<String>>,
    /// The drain is over: what still runs is returned.
    closing: CancellationToken,
}

/// An end on its way to the database.
struct End {
    claim: Claim,
    record: Record,
    recorded: oneshot::Sender<bool>,
}

impl Shared {
    /// Returns it, and the task that records ends.
    pub(crate) fn new(
        database: Database,
        host: Host,
        functions: HashMap<&'static str, Function>,
        front: Engine,
    ) -> (Arc<Self>, impl Future<Output = ()>) {
        let (ends, received) = mpsc::channel(BATCH);
        let shared = Arc::new(Self {
            database,
            host,
            watch: Watch::default(),
            front: Mutex::new(front),
            functions,
            ends,
            held: Mutex::default(),
            released: Notify::new(),
            attempts: Attempts::default(),
            store: OnceLock::new(),
            life: Mutex::default(),
            closing: CancellationToken::new(),
        });
        let recorder = record(shared.clone(), received);
        (shared, recorder)
    }

    pub(crate) fn front(&self) -> Engine {
        lock(&self.front).clone()
    }

    pub(crate) fn set_store(&self, store: Weak<Stored>) {
        // Set once, before the work begins.
        let _ = self.store.set(store);
    }

    /// Cancels a job. Returns `false` if it had ended.
    pub(crate) async fn cancel(&self, id: JobId) -> Result<bool, JobError> {
        match self.database.cancel(id, &mark("cancelled")).await? {
            Cancelled::Not => return Ok(false),
            Cancelled::Marked => self.attempts.cancel(id.get()),
            Cancelled::Now => {}
        }
        self.watch.wake_for(id.get());
        Ok(true)
    }

    /// Makes a job available now. Returns `false` if it waits, runs or is done.
    pub(crate) async fn retry_now(&self, id: JobId) -> Result<bool, JobError> {
        let retried = self.database.retry_now(id, &mark("retried")).await?;
        self.watch.wake_for(id.get());
        Ok(retried)
    }

    /// Has dead jobs of a filter tried again. Returns their number.
    pub(crate) async fn retry_dead(&self, filter: &Filter) -> Result<u64, JobError> {
        let mut count = 0;
        loop {
            let batch = self.database.retry_dead(filter, &mark("retried")).await?;
            if batch == 0 {
                return Ok(count);
            }
            count += batch;
        }
    }

    fn set_front(&self, engine: Engine) {
        *lock(&self.front) = engine;
    }

    /// Runs one claimed job, and returns when its end is recorded, or the claim of `worker` is void.
    async fn take(self: Arc<Self>, held: Held, worker: Arc<str>, lost: CancellationToken) {
        let id = held.id;
        let claimed = loop {
            match self.database.claimed(id).await {
                // It may have been rescued, and claimed by another, before it came here.
                Ok(Some(claimed)) if *claimed.claim.worker == *worker => break claimed,
                Ok(_) => return,
                Err(error) => {
                    tracing::warn!(target: "bgtask", %error, job = id, "a claimed job could not be read");
                    if self.closing.is_cancelled() || lost.is_cancelled() {
                        // The lease returns it.
                        return;
                    }
                    sleep(PAUSE).await;
                }
            }
        };
        let claim = claimed.claim.clone();
        let Some(store) = self.store.get().and_then(Weak::upgrade) else {
            // The manager is gone. The lease returns the job.
            return;
        };
        let holding = Holding::new(&claimed, store);
        let Some(record) = self.run(claimed, &holding, &lost).await else {
            return;
        };
        if let Some(progress) = holding.send_progress() {
            // The channel keeps their order.
            if self
                .send(&claim, Record::Progress(progress))
                .await
                .is_none()
            {
                return;
            }
        }
        let Some(was_recorded) = self.send(&claim, record).await else {
            return;
        };
        if was_recorded.await == Ok(false) {
            tracing::warn!(target: "bgtask", job = claim.id, worker = claim.worker,
                "the end of an attempt was dropped: the attempt no longer held its job");
        }
        self.watch.wake_for(claim.id);
    }

    /// Sends a record on its way. `None` if nobody records any more.
    async fn send(&self, claim: &Claim, record: Record) -> Option<oneshot::Receiver<bool>> {
        let (recorded, was_recorded) = oneshot::channel();
        let end = End {
            claim: claim.clone(),
            record,
            recorded,
        };
        self.ends.send(end).await.ok()?;
        Some(was_recorded)
    }

    /// Runs one attempt. `None` if the claim is void.
    async fn run(
        &self,
        claimed: Claimed,
        holding: &Arc<Holding>,
        lost: &CancellationToken,
    ) -> Option<Record> {
        let Claimed {
            claim,
            function: name,
            arguments,
            ..
        } = claimed;
        if self.host.is_stopping() {
            return Some(Record::Returned);
        }
        let Some(&function) = self.functions.get(&*name) else {
            // Only known functions are claimed.
            return Some(Record::Returned);
        };
        let arguments = match RawValue::from_string(arguments) {
            Ok(arguments) => arguments,
            Err(error) => {
                return Some(parked(claim.id, &name, &error.to_string()));
            }
        };
        let attempt = match self.host.run(function, &arguments, holding.clone()) {
            Ok(attempt) => attempt,
            Err(reason) => return Some(parked(claim.id, &name, &reason)),
        };
        let canceller = attempt.canceller();
        let running = self.attempts.add(&claim, canceller.clone());
        let mut end = std::pin::pin!(attempt.end());
        let verdict = tokio::select! {
            verdict = &mut end => verdict,
            () = lost.cancelled() => {
                drop(running);
                canceller.cancel(StopReason::LeaseLost);
                // Fires the task's token. The body runs on until it ends by itself; another attempt holds the job.
                std::future::poll_fn(|cx| Poll::Ready(end.as_mut().poll(cx).is_ready())).await;
                return None;
            }
            () = self.closing.cancelled() => return Some(Record::Returned),
            never = self.record_progress(holding) => match never {},
        };
        drop(running);
        let is_completed = holding.is_completed();
        #[cfg(test)]
        let is_completed = is_completed && !Mechanism::ChecksCompletion.is_off(&self.database);
        let verdict = if is_completed {
            self.verdict_of_completed(function, holding, verdict, lost)
                .await?
        } else {
            verdict
        };
        Some(record_of(&claim, &name, verdict))
    }

    /// Returns what follows an attempt that has completed its job in a transaction of the program's. `None` if that has committed, or
    /// the claim is void.
    async fn verdict_of_completed(
        &self,
        function: Function,
        holding: &Holding,
        verdict: Verdict,
        lost: &CancellationToken,
    ) -> Option<Verdict> {
        let claim = &holding.claim;
        loop {
            match self.database.claimed(claim.id).await {
                Ok(Some(claimed)) if claimed.claim == *claim => break,
                Ok(_) => {
                    self.watch.wake_for(claim.id);
                    return None;
                }
                Err(error) => {
                    tracing::warn!(target: "bgtask", %error, job = claim.id, "a job that its attempt has completed could not be read");
                    if self.closing.is_cancelled() || lost.is_cancelled() {
                        return None;
                    }
                    sleep(PAUSE).await;
                }
            }
        }
        let not_committed = "the transaction in which the job was completed was not committed";
        Some(match verdict {
            Verdict::Done(_) => function.failed(not_committed.to_owned(), holding.attempt()),
            Verdict::Retry { message, .. } | Verdict::Dead { message, .. } => {
                function.failed(format!("{not_committed}: {message}"), holding.attempt())
            }
            // The shutdown or a cancellation decides.
            verdict => verdict,
        })
    }

    /// Records the progress of an attempt, as long as it runs.
    async fn record_progress(&self, holding: &Holding) -> Infallible {
        loop {
            holding.progressed().await;
            let Ok(room) = self.ends.reserve().await else {
                std::future::pending().await
            };
            // Taken when nothing can keep it from being sent, because this may be dropped at any await.
            if let Some(progress) = holding.send_progress() {
                let (recorded, was_recorded) = oneshot::channel();
                room.send(End {
                    claim: holding.claim.clone(),
                    record: Record::Progress(progress),
                    recorded,
                });
                let _ = was_recorded.await;
                self.watch.wake_for(holding.claim.id);
            }
            sleep(PROGRESS).await;
        }
    }

    /// Waits until no claimed job of this process is left without its end recorded.
    async fn until_all_are_recorded(&self) {
        loop {
            let mut one = std::pin::pin!(self.released.notified());
            one.as_mut().enable();
            if self.held().is_empty() {
                return;
            }
            one.await;
        }
    }

    /// Locked for a look or a change, never across an await.
    fn held(&self) -> MutexGuard<'_, HashSet<i64>> {
        lock(&self.held)
    }

    fn life(&self) -> MutexGuard<'_, Option<String>> {
        lock(&self.life)
    }

    /// Records what has ended, and returns what still runs.
    async fn close(&self) {
        // A body that has just ended is recorded as such: its end is already on its way here.
        let _ =
            tokio::time::timeout(Duration::from_millis(250), self.until_all_are_recorded()).await;
        self.closing.cancel();
        self.until_all_are_recorded().await;
    }
}

/// Returns the record of an end, which it logs.
fn record_of(claim: &Claim, name: &str, verdict: Verdict) -> Record {
    match verdict {
        Verdict::Done(output) => Record::Done {
            output: output.get().to_owned(),
        },
        Verdict::Retry {
            failure,
            message,
            pause,
        } => {
            tracing::warn!(target: "bgtask", job = claim.id, name, error = ?message, ?pause,
                "an attempt of a job failed, and another follows");
            Record::Retry {
                failure,
                message,
                pause,
            }
        }
        Verdict::Dead { failure, message } => {
            tracing::error!(target: "bgtask", job = claim.id, name, error = ?message, "a job is dead");
            Record::Dead { failure, message }
        }
        Verdict::Postponed { pause } => Record::Postponed { pause },
        Verdict::Cancelled => {
            tracing::info!(target: "bgtask", job = claim.id, name, "a running job was cancelled");
            Record::Cancelled
        }
        _ => Record::Returned,
    }
}

fn parked(id: i64, name: &str, reason: &str) -> Record {
    tracing::error!(target: "bgtask", job = id, name, ?reason, "a job is parked: its arguments do not decode");
    Record::Parked {
        reason: reason.replace('\0', "\u{fffd}"),
    }
}

/// A claimed job, until its end is recorded.
struct Held {
    shared: Arc<Shared>,
    id: i64,
}

impl Held {
    fn new(shared: &Arc<Shared>, id: i64) -> Self {
        shared.held().insert(id);
        Self {
            shared: shared.clone(),
            id,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shared.held().remove(&self.id);
        self.shared.released.notify_waiters();
    }
}

/// Records ends, many in one transaction, as long as the database takes.
async fn record(shared: Arc<Shared>, mut ends: mpsc::Receiver<End>) {
    let mut batch = Vec::with_capacity(BATCH);
    while ends.recv_many(&mut batch, BATCH).await > 0 {
        let (records, waiting): (Vec<_>, Vec<_>) = batch
            .drain(..)
            .map(|end| ((end.claim, end.record), end.recorded))
            .unzip();
        for (recorded, waiting) in store(&shared, &records).await.into_iter().zip(waiting) {
            // The waiter may be gone.
            let _ = waiting.send(recorded);
        }
    }
}

async fn store(shared: &Shared, records: &[(Claim, Record)]) -> Vec<bool> {
    let since = Instant::now();
    let mut is_reported = false;
    loop {
        let error: Error = match shared.database.record(records).await {
            Ok(recorded) => return recorded,
            Err(error) => error,
        };
        if !is_reported && since.elapsed() >= PENDING_LIMIT {
            is_reported = true;
            tracing::error!(target: "bgtask", %error, jobs = records.len(), pending = ?since.elapsed(),
                "the ends of jobs cannot be recorded");
        } else {
            tracing::warn!(target: "bgtask", %error, jobs = records.len(), "the ends of jobs could not be recorded yet");
        }
        sleep(PAUSE).await;
    }
}

/// Works until the shutdown: one life after another, and what keeps the tables in order. Completes when everything is returned.
pub(crate) async fn work(
    shared: Arc<Shared>,
    mut lease: Lease,
    queues: BTreeMap<String, usize>,
    time_to_live: Duration,
    closed: CancellationToken,
) {
    let upkeep = tokio::spawn(upkeep(shared.clone(), time_to_live));
    let look = {
        let shared = shared.clone();
        tokio::spawn(async move { shared.watch.look(&shared.database).await })
    };
    let mut clients = Vec::new();
    let lives = async {
        while let Some(life) = lease.next_life().await {
            let claims = claim(&shared, &life, &queues, &mut clients);
            life.lost.run_until_cancelled(claims).await;
            // The attempts that run have been cancelled through the same token.
            clients.drain(..).for_each(Claiming::give_up);
        }
    };
    closed.run_until_cancelled(lives).await;
    clients.iter().for_each(Claiming::stop_claims);
    shared.close().await;
    clients.into_iter().for_each(Claiming::give_up);
    lease.end().await;
    upkeep.abort();
    look.abort();
    shared.database.close().await;
}

/// Claims jobs in one life, until the shutdown is requested. Never completes by itself.
async fn claim(
    shared: &Arc<Shared>,
    life: &Life,
    queues: &BTreeMap<String, usize>,
    clients: &mut Vec<Claiming>,
) {
    *shared.life() = Some(life.id.clone());
    if shared.functions.is_empty() {
        return std::future::pending().await;
    }
    let mut number = 0;
    let claims = async {
        loop {
            clients.drain(..).for_each(Claiming::give_up);
            claim_until_failed(shared, life, queues, clients, &mut number).await;
            sleep(PAUSE).await;
        }
    };
    tokio::select! {
        () = claims => {}
        () = shared.host.stopping() => {}
    }
    // Claimed jobs continue in this life until the store is closed.
    clients.iter().for_each(Claiming::stop_claims);
    std::future::pending().await
}

/// Starts a client for the functions whose state is provided, and one more for each that follow. Returns when a client has ended.
async fn claim_until_failed(
    shared: &Arc<Shared>,
    life: &Life,
    queues: &BTreeMap<String, usize>,
    clients: &mut Vec<Claiming>,
    number: &mut u32,
) {
    let mut waiting: Vec<Function> = shared.functions.values().copied().collect();
    waiting.sort_by_key(Function::name);
    waiting.dedup_by_key(|function| function.name());
    let all = async {
        for function in &waiting {
            shared.host.provided(*function).await;
        }
    };
    // Usually there is one client for all functions.
    let _ = tokio::time::timeout(STATE_WAIT, all).await;
    while !waiting.is_empty() {
        let found = tokio::select! {
            found = ready(shared, &waiting) => found,
            () = one_ended(clients) => return,
        };
        waiting.retain(|function| !found.iter().any(|ready| ready.name() == function.name()));
        *number += 1;
        let id = format!("{}.{number}", life.id);
        match start(shared, id, &life.lost, queues, &found) {
            Ok(client) => clients.push(client),
            Err(message) => {
                tracing::error!(target: "bgtask", error = message, "durable jobs cannot be claimed");
                return;
            }
        }
    }
    one_ended(clients).await;
}

/// Waits until the state of some functions is provided, and returns these functions.
async fn ready(shared: &Shared, waiting: &[Function]) -> Vec<Function> {
    let mut provided: Vec<_> = waiting
        .iter()
        .map(|function| (*function, Box::pin(shared.host.provided(*function))))
        .collect();
    std::future::poll_fn(|cx| {
        let found: Vec<_> = provided
            .iter_mut()
            .filter_map(|(function, provided)| {
                provided.as_mut().poll(cx).is_ready().then_some(*function)
            })
            .collect();
        if found.is_empty() {
            Poll::Pending
        } else {
            Poll::Ready(found)
        }
    })
    .await
}

/// Waits until a client has ended, which it does by itself only if it fails.
async fn one_ended(clients: &mut [Claiming]) {
    let mut ends: Vec<_> = clients
        .iter_mut()
        .map(|client| Box::pin(client.ended()))
        .collect();
    let ended = std::future::poll_fn(|cx| {
        for end in &mut ends {
            if let Poll::Ready(ended) = end.as_mut().poll(cx) {
                return Poll::Ready(ended);
            }
        }
        Poll::Pending
    })
    .await;
    if let Err(message) = ended {
        tracing::error!(target: "bgtask", error = message, "the claims of durable jobs failed, and start anew");
    }
}

/// Starts a client that claims the jobs of these functions.
fn start(
    shared: &Arc<Shared>,
    id: String,
    lost: &CancellationToken,
    queues: &BTreeMap<String, usize>,
    functions: &[Function],
) -> Result<Claiming, String> {
    let names: Vec<_> = functions
        .iter()
        .flat_map(|function| [Some(function.name()), function.was()])
        .flatten()
        .collect();
    let (own, lost) = (shared.clone(), lost.clone());
    let worker: Arc<str> = id.as_str().into();
    let hand_over: HandOver = Arc::new(move |id| {
        let held = Held::new(&own, id);
        // A task of its own: the engine may end, and the attempt goes on.
        let attempt = tokio::spawn(own.clone().take(held, worker.clone(), lost.clone()));
        Box::pin(async move {
            if let Err(error) = attempt.await {
                tracing::error!(target: "bgtask", %error, job = id, "an attempt could not be handed over");
            }
        })
    });
    let engine = Engine::working(
        &shared.database,
        Work {
            id,
            // Once per client, and a process has few. The engine requires a static list.
            functions: names.leak(),
            queues,
            hand_over,
        },
    )?;
    let claiming = engine.start()?;
    if !shared.database.notifies() {
        shared.set_front(engine);
    }
    Ok(claiming)
}

/// Makes due jobs available, deletes expired jobs, and puts claimed jobs back that do not run.
async fn upkeep(shared: Arc<Shared>, time_to_live: Duration) {
    let mut upkeep = Upkeep {
        shared,
        time_to_live,
        is_unparked: false,
        pruned: None,
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
    is_unparked: bool,
    pruned: Option<Instant>,
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
        if !self.is_unparked {
            // This program may decode what the last one could not.
            database.unpark(&mark("unparked")).await?;
            self.is_unparked = true;
        }
        database.promote().await?;
        let is_due = |last: Option<Instant>, period| last.is_none_or(|at| at.elapsed() >= period);
        if is_due(self.pruned, PRUNE) {
            while database.prune().await? > 0 {}
            self.pruned = Some(Instant::now());
        }
        if is_due(self.asked, self.time_to_live / 4) {
            self.cancel().await?;
            self.asked = Some(Instant::now());
        }
        if is_due(self.looked, self.time_to_live) {
            self.reconcile().await?;
            self.looked = Some(Instant::now());
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
        let found: Vec<_> = {
            let held = self.shared.held();
            let not_held = running.into_iter().filter(|(id, _)| !held.contains(id));
            not_held.collect()
        };
        let (again, new): (Vec<_>, Vec<_>) = found
            .into_iter()
            .partition(|job| self.not_held.contains(job));
        self.not_held = new;
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

/// Returns a mark that no row has had.
fn mark(why: &str) -> String {
    format!("{why}-{:016x}", fastrand::u64(..))
}
