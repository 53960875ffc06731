//! The worker: takes claimed jobs, runs them as calls of the manager, records their ends, and gives back what still runs.
//! Owns what its parts share, also where nothing is worked; knows nothing of when another process counts as dead.

mod attempt;
mod claims;
mod dead;
mod places;
mod recorder;
mod upkeep;

use crate::ended::EndCounter;
use crate::engine::{Cancelled, Claim, Database, Engine};
use crate::health::Health;
use crate::holding::Attempts;
use crate::lease::Lease;
use crate::lock;
#[cfg(feature = "metrics")]
use crate::metrics::Count;
use crate::metrics::Figures;
use crate::watch::Watch;
#[cfg(feature = "dashboard")]
use bgtask::durable::Ticks;
use bgtask::durable::{Function, Host, JobError, JobId, Store};
use claims::Claiming;
pub(crate) use dead::OnDead;
use places::Places;
use recorder::End;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::Future;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// How long the end of a shutdown waits for claims that are under way: longer than a statement waits for a lock.
const CLAIMS_END: Duration = Duration::from_secs(5);

/// How long the end of a shutdown waits until the last ends are counted.
const COUNT_END: Duration = Duration::from_millis(500);

/// The state that the tasks of the worker share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) database: Database,
    pub(crate) host: Host,
    pub(crate) watch: Watch,
    pub(crate) health: Arc<Health>,
    /// The client that stores jobs.
    pub(crate) engine: Engine,
    functions: HashMap<&'static str, Function>,
    ends: mpsc::Sender<End>,
    /// The claimed jobs of this process whose end is not recorded, each with the number of its attempts: one of an earlier life may
    /// still wait for the database.
    held: Mutex<HashMap<i64, usize>>,
    released: Notify,
    /// The claims of this life that were put back because nobody held them, each a job and the time of the claim: their replies may
    /// still come.
    put_back: Mutex<HashSet<(i64, String)>>,
    /// How many jobs of each queue may run.
    places: Arc<Places>,
    /// This process has begun to claim.
    has_claimed: AtomicBool,
    /// The attempts that run, for cancellations.
    attempts: Attempts,
    store: OnceLock<Weak<dyn Store>>,
    /// The life in which this process claims jobs.
    life: Mutex<Option<String>>,
    /// Receives the ids of jobs that are dead.
    dead: mpsc::UnboundedSender<i64>,
    pub(crate) figures: Figures,
    /// The ends that are not counted in the database yet.
    pub(crate) ended: Arc<EndCounter>,
    /// The drain is over: what still runs is returned.
    closing: CancellationToken,
    /// The schedules of this process, for the pages that show their next ticks.
    #[cfg(feature = "dashboard")]
    schedules: Mutex<Vec<Arc<Ticks>>>,
}

impl Shared {
    /// Returns it, and the task that records ends.
    pub(crate) fn new(
        database: Database,
        host: Host,
        functions: HashMap<&'static str, Function>,
        queues: &BTreeMap<String, usize>,
        engine: Engine,
        health: Arc<Health>,
        dead: mpsc::UnboundedSender<i64>,
    ) -> (Arc<Self>, impl Future<Output = ()> + use<>) {
        let (ends, received) = mpsc::channel(recorder::BATCH);
        let figures = Figures::new(&functions, &health);
        let shared = Arc::new(Self {
            database,
            host,
            watch: Watch::default(),
            health,
            engine,
            functions,
            ends,
            held: Mutex::default(),
            released: Notify::new(),
            put_back: Mutex::default(),
            places: Places::new(queues),
            has_claimed: AtomicBool::new(false),
            attempts: Attempts::default(),
            store: OnceLock::new(),
            life: Mutex::default(),
            dead,
            figures,
            ended: Arc::default(),
            closing: CancellationToken::new(),
            #[cfg(feature = "dashboard")]
            schedules: Mutex::default(),
        });
        let recorder = recorder::record(shared.clone(), received);
        (shared, recorder)
    }

    /// Has the claims look for jobs that this process has stored in this queue, before the database notifies of them.
    pub(crate) fn stored_in(&self, queue: &str) {
        self.places.wake(Some(queue));
    }

    /// Keeps a schedule, for the pages.
    #[cfg(feature = "dashboard")]
    pub(crate) fn note_schedule(&self, ticks: &Arc<Ticks>) {
        lock(&self.schedules).push(ticks.clone());
    }

    /// Returns the schedules of this process.
    #[cfg(feature = "dashboard")]
    pub(crate) fn schedules(&self) -> Vec<Arc<Ticks>> {
        lock(&self.schedules).clone()
    }

    /// Returns whether this program has the function whose jobs are stored under this name.
    #[cfg(feature = "dashboard")]
    pub(crate) fn has_function(&self, name: &str) -> bool {
        self.functions.contains_key(name)
    }

    pub(crate) fn set_store(&self, store: Weak<dyn Store>) {
        // Set once, before the work begins.
        let _ = self.store.set(store);
    }

    /// Cancels a job. Returns `false` if it had ended.
    pub(crate) async fn cancel(&self, id: JobId) -> Result<bool, JobError> {
        match self.database.cancel(id, &mark("cancelled")).await? {
            Cancelled::Not => return Ok(false),
            Cancelled::Marked => self.attempts.cancel(id.get()),
            Cancelled::Now => self.count_cancelled(id).await,
        }
        self.watch.wake_for(id.get());
        Ok(true)
    }

    /// Counts a job that was cancelled before it ran.
    #[cfg(feature = "metrics")]
    async fn count_cancelled(&self, id: JobId) {
        // It may be gone already.
        if let Ok(job) = self.database.status(id).await {
            self.figures.count(Count::Cancelled, &job.function);
        }
    }

    #[cfg(not(feature = "metrics"))]
    async fn count_cancelled(&self, _: JobId) {}

    /// Makes a job available now. Returns `false` if it waits, runs or is done.
    pub(crate) async fn retry_now(&self, id: JobId) -> Result<bool, JobError> {
        let retried = self.database.retry_now(id, &mark("retried")).await?;
        self.watch.wake_for(id.get());
        Ok(retried)
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
    fn held(&self) -> MutexGuard<'_, HashMap<i64, usize>> {
        lock(&self.held)
    }

    /// Notes claims that are put back, but for those that are held by now, and returns the others.
    fn note_put_back(&self, mut claims: Vec<(i64, String)>) -> Vec<(i64, String)> {
        // Both locked, so that a reply which comes now is either held or finds its claim put back.
        let held = self.held();
        claims.retain(|(id, _)| !held.contains_key(id));
        lock(&self.put_back).extend(claims.iter().cloned());
        claims
    }

    fn was_put_back(&self, claim: &Claim) -> bool {
        let put_back = lock(&self.put_back);
        !put_back.is_empty() && put_back.contains(&(claim.id, claim.attempted_at.clone()))
    }

    fn life(&self) -> MutexGuard<'_, Option<String>> {
        lock(&self.life)
    }

    /// Returns the jobs that this life has claimed and nobody holds, because the reply to their claim was lost. Nothing else of this
    /// life may be running any more.
    async fn return_lost_claims(&self) {
        let Some(life) = self.life().clone() else {
            return;
        };
        let returned = async {
            let lost = self.database.running_in(&life).await?;
            if lost.is_empty() {
                return Ok(0);
            }
            self.database
                .put_back(&life, &lost, &mark("put-back"))
                .await
        };
        if let Err(error) = returned.await {
            tracing::warn!(target: "bgtask", %error, "claimed jobs that are not run could not be returned: the lease returns them");
        }
    }

    /// Counts in the database what has ended since the last time. If the process dies before, these ends are not counted.
    async fn store_ended(&self) {
        let Some(ended) = self.ended.take() else {
            return;
        };
        if let Err(error) = self.database.count_ended(ended).await {
            self.ended.give_back(ended);
            tracing::warn!(target: "bgtask", %error, "the ends of attempts could not be counted yet");
        }
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

/// How a store works on its jobs.
pub(crate) struct Settings {
    /// Each queue, with the number of jobs that run at once.
    pub(crate) queues: BTreeMap<String, usize>,
    pub(crate) time_to_live: Duration,
    pub(crate) on_dead: Option<OnDead>,
    /// The ids of jobs that are dead.
    pub(crate) dead: mpsc::UnboundedReceiver<i64>,
}

/// Works until the shutdown: one life after another, and what keeps the tables in order. Completes when everything is returned.
pub(crate) async fn work(
    shared: Arc<Shared>,
    mut lease: Lease,
    settings: Settings,
    closed: CancellationToken,
) {
    let Settings {
        queues,
        time_to_live,
        on_dead,
        dead,
    } = settings;
    let over = CancellationToken::new();
    let told = tokio::spawn(dead::tell(shared.clone(), on_dead, dead, over.clone()));
    let upkeep = tokio::spawn(upkeep::upkeep(shared.clone(), time_to_live));
    let names = queues.keys().cloned().collect();
    let figures = shared.figures.clone();
    let shown = tokio::spawn(figures.show(shared.database.clone(), names));
    let look = {
        let shared = shared.clone();
        // What is heard may be of a job to claim. Behind a pooler nothing is, and the claims poll.
        let works = shared.database.counts_writes() || shared.database.notifies();
        tokio::spawn(async move {
            let wake = |queue: Option<&str>| shared.places.wake(queue);
            shared.watch.look(&shared.database, works, wake).await;
        })
    };
    let mut claiming = None;
    let lives = async {
        while let Some(life) = lease.next_life().await {
            claiming = Some(Claiming::start(&shared, &life));
            life.lost.cancelled().await;
            // The attempts that run are cancelled through the same token.
            claiming = None;
        }
    };
    closed.run_until_cancelled(lives).await;
    if let Some(claiming) = &claiming {
        claiming.stop();
    }
    shared.close().await;
    if let Some(claiming) = &mut claiming {
        // A claim that was under way hands its jobs over, which are returned. Without a reply in time, the lease returns them.
        let _ = tokio::time::timeout(CLAIMS_END, claiming.ended()).await;
    }
    drop(claiming);
    shared.until_all_are_recorded().await;
    shared.return_lost_claims().await;
    lease.end().await;
    over.cancel();
    // The hook is code of the program's, and may block.
    let _ = tokio::time::timeout(Duration::from_millis(250), told).await;
    upkeep.abort();
    // The figures do not hold a shutdown up.
    let _ = tokio::time::timeout(COUNT_END, shared.store_ended()).await;
    look.abort();
    shown.abort();
    shared.figures.close();
    shared.database.close().await;
}

/// Stores calls and awaits their outcomes until the shutdown, and works on none. With `probes`, the health check has a probe of the
/// database in the place of a beat, this often.
pub(crate) async fn only_store(
    shared: Arc<Shared>,
    probes: Option<Duration>,
    closed: CancellationToken,
) {
    let probe = async {
        match probes {
            Some(pause) => probe(&shared, pause).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = shared.watch.look(&shared.database, false, |_| ()) => {}
        () = probe => {}
        () = closed.cancelled() => {}
    }
    shared.database.close().await;
}

/// Reads from the database again and again, on a connection of its own. Never completes.
async fn probe(shared: &Shared, pause: Duration) {
    let mut connection = None;
    loop {
        let answered = match shared.database.connected(&mut connection).await {
            Ok(connection) => connection.probe().await,
            Err(error) => Err(error),
        };
        match answered {
            Ok(()) => shared.health.beat(),
            Err(error) => {
                connection = None;
                tracing::warn!(target: "bgtask", %error, "the database of durable jobs does not answer");
            }
        }
        sleep(pause).await;
    }
}

/// Returns a mark that no row has had.
pub(crate) fn mark(why: &str) -> String {
    format!("{why}-{:016x}", fastrand::u64(..))
}
