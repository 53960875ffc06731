//! The settings of a store, and its start: a thread for the engine, one for the lease.

use crate::engine::{self, Database, Engine};
use crate::jobs::Jobs;
use crate::lease::{Lease, Rescues, Timing};
use crate::metrics::Figures;
use crate::schedule;
use crate::stored::Stored;
use crate::testing;
use crate::worker::{self, OnDead, Shared};
use bgtask::durable::{Function, Host, JobState, JobStatus, is_queue_name};
use std::collections::{BTreeMap, HashMap};
use std::env::VarError;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// The jobs of one queue that run at once in one process.
const AT_ONCE: usize = 50;

/// The settings of a store; see [`builder()`](crate::builder).
#[derive(Clone, Debug)]
#[must_use = "nothing is opened until `open` is awaited"]
pub struct Builder {
    url: Option<String>,
    queues: BTreeMap<String, usize>,
    time_to_live: Duration,
    enqueue_limit: Duration,
    crash_limit: u32,
    on_dead: Option<OnDead>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            url: None,
            queues: BTreeMap::new(),
            time_to_live: Duration::from_secs(4),
            enqueue_limit: Duration::from_secs(5),
            crash_limit: engine::CRASH_LIMIT,
            on_dead: None,
        }
    }
}

impl Builder {
    /// Sets the database, whatever the environment says: `sqlite://path`, or `postgres://user@host/database` with the feature
    /// `postgres`. Default: `BGTASK_DATABASE_URL`, or `sqlite://bgtask.db`.
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.url = Some(url.into());
        self
    }

    /// Sets how many jobs of a queue run at once in this process: 1 to 10,000. Default: 50.
    ///
    /// The process works the queues of its durable functions and those set here.
    pub fn queue(mut self, name: impl Into<String>, at_once: usize) -> Self {
        self.queues.insert(name.into(), at_once);
        self
    }

    /// Sets how long a process may show no sign of life before the others run its jobs, at least 100 ms. Default: 4 s.
    ///
    /// Set the same in all processes that share the database. A process shows a sign of life four times in this time.
    pub fn time_to_live(mut self, time_to_live: Duration) -> Self {
        self.time_to_live = time_to_live.max(Duration::from_millis(100));
        self
    }

    /// Sets how long a call may take to be stored, before it returns an error. Default: 5 s.
    pub fn enqueue_limit(mut self, limit: Duration) -> Self {
        self.enqueue_limit = limit;
        self
    }

    /// Sets at how many crashes a job is dead: how often the process died that ran it, at least 1. Default: 5.
    ///
    /// Set the same in all processes that share the database.
    pub fn crash_limit(mut self, limit: u32) -> Self {
        self.crash_limit = limit.max(1);
        self
    }

    /// Sets what to do about a job that is dead: its attempts are used up, or its process has died too often.
    ///
    /// The process that has recorded this calls the hook, for one job after the other, on a thread where it may block. If that
    /// process dies at this moment, no other one calls it.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn open() -> Result<(), bgtask_durable::OpenError> {
    /// let jobs = bgtask_durable::builder()
    ///     .on_dead(|job| eprintln!("job {} of {} is dead: {:?}", job.id, job.function, job.last_error))
    ///     .open()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_dead(mut self, hook: impl Fn(&JobStatus) + Send + Sync + 'static) -> Self {
        self.on_dead = Some(OnDead(Arc::new(hook)));
        self
    }

    /// Opens the database, makes it the store of the current manager, and starts to work on its jobs.
    ///
    /// # Errors
    /// If the database cannot be opened, or the manager has a store or is shutting down.
    ///
    /// # Panics
    /// Where no manager can be found: outside of a tokio runtime.
    ///
    /// # Cancel safety
    /// If the future is dropped, the manager gets no store.
    pub async fn open(self) -> Result<Jobs, OpenError> {
        self.check_queues()?;
        let host = Host::current().map_err(|_| OpenError::ShuttingDown)?;
        if let Some(memory) = testing::of_test() {
            // The code under test opens its database, and gets the store of the test.
            memory.set_on_dead(self.on_dead);
            return Ok(Jobs::new(memory));
        }
        if host.has_store() {
            return Err(OpenError::AlreadyOpen);
        }
        let functions = functions(&host)?;
        let url = match &self.url {
            Some(url) => url.clone(),
            None => url_of_environment()?,
        };
        let (opened, is_open) = oneshot::channel();
        let start = Start {
            settings: self,
            url,
            host: host.clone(),
            functions,
        };
        std::thread::Builder::new()
            .name("bgtask-durable".to_owned())
            .spawn(move || start.run(opened))
            .map_err(OpenError::Thread)?;
        let stored = is_open
            .await
            .map_err(|_| OpenError::Thread(std::io::Error::other("the engine has ended")))??;
        let stored = Arc::new(stored);
        stored.make_known();
        if host.attach(stored.clone()).is_err() {
            stored.stop();
            return Err(OpenError::AlreadyOpen);
        }
        stored.begin();
        Ok(Jobs::new(stored))
    }

    /// The engine refuses a queue only when it starts, which is after the store has opened, and then it works none.
    fn check_queues(&self) -> Result<(), OpenError> {
        for (name, at_once) in &self.queues {
            let message = if !is_queue_name(name) {
                "its name has 1 to 64 lowercase letters, digits, `-` and `_`, a letter first, and each `-` or `_` between two others"
            } else if !(1..=engine::AT_ONCE_LIMIT).contains(at_once) {
                "1 to 10,000 of its jobs run at once"
            } else {
                continue;
            };
            return Err(OpenError::Queue {
                name: name.clone(),
                message,
            });
        }
        Ok(())
    }

    fn timing(&self) -> Timing {
        Timing {
            beat: self.time_to_live / 4,
            time_to_live: self.time_to_live,
        }
    }
}

fn url_of_environment() -> Result<String, OpenError> {
    match std::env::var("BGTASK_DATABASE_URL") {
        Ok(url) if !url.is_empty() => Ok(url),
        Ok(_) | Err(VarError::NotPresent) => Ok("sqlite://bgtask.db".to_owned()),
        // Another database than the one that is meant would take the jobs.
        Err(VarError::NotUnicode(_)) => Err(OpenError::Url {
            url: "BGTASK_DATABASE_URL".to_owned(),
            message: "it is not UTF-8: encode its bytes with `%`".to_owned(),
        }),
    }
}

/// Returns the functions by the names under which their jobs are stored.
fn functions(host: &Host) -> Result<HashMap<&'static str, Function>, OpenError> {
    let mut functions: HashMap<&'static str, Function> = HashMap::new();
    for function in host.functions() {
        for name in [Some(function.name()), function.was()]
            .into_iter()
            .flatten()
        {
            if let Some(other) = functions.insert(name, function) {
                return Err(OpenError::SameName {
                    name,
                    functions: [other, function].map(|function| function.handler().to_string()),
                });
            }
        }
    }
    Ok(functions)
}

/// The settings of the thread of the engine.
struct Start {
    settings: Builder,
    url: String,
    host: Host,
    functions: HashMap<&'static str, Function>,
}

impl Start {
    /// Opens the database, reports the result, and works until the store is closed.
    fn run(self, opened: oneshot::Sender<Result<Stored, OpenError>>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                // Nobody may wait for it.
                let _ = opened.send(Err(OpenError::Thread(error)));
                return;
            }
        };
        runtime.block_on(async move {
            match self.open().await {
                Ok((stored, work)) => {
                    if opened.send(Ok(stored)).is_ok() {
                        work.await;
                    }
                }
                Err(error) => {
                    let _ = opened.send(Err(error));
                }
            }
        });
    }

    async fn open(self) -> Result<(Stored, impl Future<Output = ()>), OpenError> {
        let Self {
            settings,
            url,
            host,
            functions,
        } = self;
        let database = Database::open(&url).await?;
        // The count scans the table, so it is made only for a log that is written.
        if tracing::enabled!(target: "bgtask", tracing::Level::INFO)
            && let Ok(stats) = database.stats().await
        {
            // With another file than the one that is meant, all jobs would seem lost.
            tracing::info!(target: "bgtask", database = database.name(), waiting = stats.count(JobState::Waiting),
                running = stats.count(JobState::Running), dead = stats.count(JobState::Dead), "the store of durable jobs is open");
        }
        let mut queues = settings.queues.clone();
        for function in functions.values() {
            queues.entry(function.queue().to_owned()).or_insert(AT_ONCE);
        }
        queues.insert(engine::SUSPECTS.to_owned(), 1);
        let front = Engine::storing(&database).map_err(OpenError::Engine)?;
        let (dead_sender, dead) = mpsc::unbounded_channel();
        let figures = Figures::new(&functions);
        let (shared, recorder) = Shared::new(
            database.clone(),
            host,
            functions,
            &queues,
            front,
            dead_sender.clone(),
            figures.clone(),
        );
        let (begin, has_begun) = oneshot::channel();
        let (over, is_over) = std::sync::mpsc::channel();
        let closed = CancellationToken::new();
        let (schedules, started) = mpsc::unbounded_channel();
        let stored = Stored::new(
            shared.clone(),
            Handle::current(),
            settings.enqueue_limit,
            closed.clone(),
            schedules,
            begin,
            is_over,
        );
        let timing = settings.timing();
        let rescues = Rescues {
            crash_limit: settings.crash_limit,
            dead: dead_sender,
            figures,
        };
        let settings = worker::Settings {
            queues,
            time_to_live: settings.time_to_live,
            on_dead: settings.on_dead,
            dead,
        };
        let work = async move {
            // Dropped without it, if the manager got another store meanwhile.
            if has_begun.await.is_err() {
                return;
            }
            let recorder = tokio::spawn(recorder);
            let schedules = tokio::spawn(schedule::drive(shared.clone(), started));
            match Lease::start(database, timing, rescues) {
                Ok(lease) => worker::work(shared, lease, settings, closed).await,
                Err(error) => {
                    tracing::error!(target: "bgtask", %error, "no thread for the lease: durable jobs are stored, and not run");
                    closed.cancelled().await;
                }
            }
            recorder.abort();
            schedules.abort();
            // The shutdown may have gone on without us.
            let _ = over.send(());
        };
        Ok((stored, work))
    }
}

/// Why a store could not be opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// The URL of the database is wrong.
    #[non_exhaustive]
    Url {
        /// The URL.
        url: String,
        /// The reason why the URL is refused.
        message: String,
    },
    /// The settings of a queue are wrong: its name, or how many of its jobs run at once.
    #[non_exhaustive]
    Queue {
        /// The name.
        name: String,
        /// What is allowed.
        message: &'static str,
    },
    /// A database in memory cannot survive the process.
    InMemory,
    /// The schema of the connection is missing, or its name is too long.
    Schema(String),
    /// The database cannot be opened, read or written.
    Database(Box<dyn Error + Send + Sync>),
    /// The file beside the database that guards its migration cannot be locked.
    Lock(String),
    /// The tables could not be brought up to date.
    Migrate(String),
    /// The tables are of a newer version than this program knows: update the program.
    #[non_exhaustive]
    NewerSchema {
        /// The version of the tables.
        newest: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// Two durable functions have the same name, or one has the former name of the other, so their jobs would be stored under one name.
    #[non_exhaustive]
    SameName {
        /// The name.
        name: &'static str,
        /// The functions, with their locations.
        functions: [String; 2],
    },
    /// The manager has a store already.
    AlreadyOpen,
    /// The manager is shutting down.
    ShuttingDown,
    /// The engine cannot be set up.
    Engine(String),
    /// No thread could be started.
    Thread(std::io::Error),
}

impl From<engine::Error> for OpenError {
    fn from(error: engine::Error) -> Self {
        OpenError::Database(error.into())
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Url { url, message } => {
                write!(
                    f,
                    "the database URL {url:?}, of the program or of BGTASK_DATABASE_URL, is wrong: {message}"
                )
            }
            OpenError::Queue { name, message } => {
                write!(f, "the queue {name:?} cannot be worked: {message}")
            }
            OpenError::InMemory => f.pad(
                "a database in memory ends with the process, and so would the jobs: use a file, such as `sqlite://bgtask.db`",
            ),
            OpenError::Schema(message) => write!(f, "no schema for the tables: {message}"),
            OpenError::Database(error) => write!(f, "the database cannot be opened: {error}"),
            OpenError::Lock(message) => {
                write!(f, "the database cannot be opened: {message}")
            }
            OpenError::Migrate(message) => {
                write!(f, "the tables cannot be brought up to date: {message}")
            }
            OpenError::NewerSchema { newest, known } => write!(
                f,
                "the tables have version {newest}, and this program knows {known} and earlier: update it"
            ),
            OpenError::SameName { name, functions } => write!(
                f,
                "the jobs of {} and {} would both be stored as {name:?}: give one another `name`",
                functions[0], functions[1]
            ),
            OpenError::AlreadyOpen => f.pad("this manager has a store of durable jobs already"),
            OpenError::ShuttingDown => f.pad("the background work is shutting down"),
            OpenError::Engine(message) => write!(f, "the engine cannot be set up: {message}"),
            OpenError::Thread(error) => write!(f, "no thread for the engine: {error}"),
        }
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            OpenError::Database(error) => Some(&**error),
            OpenError::Thread(error) => Some(error),
            _ => None,
        }
    }
}
