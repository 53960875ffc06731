//! The start of a store: a thread for the engine, one for the lease, and why it may fail.

use crate::engine::{self, Database, Engine};
use crate::health::{self, Health};
use crate::jobs::Jobs;
use crate::lease::{Lease, Rescues, Timing};
use crate::schedule;
use crate::settings::{Builder, Environment, HEALTH_ADDR, Role, Setting, Settings};
use crate::stored::Stored;
use crate::testing;
use crate::worker::{self, OnDead, Shared};
use bgtask::durable::{Function, Host, JobState};
use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

impl Builder {
    /// Opens the database, makes it the store of the current manager, and starts to work on its jobs, unless the role is
    /// [`Role::Enqueue`].
    ///
    /// # Errors
    /// If a setting is wrong, the database cannot be opened, or the manager has a store or is shutting down.
    ///
    /// # Panics
    /// Where no manager can be found: outside of a tokio runtime.
    ///
    /// # Cancel safety
    /// If the future is dropped, the manager gets no store.
    pub async fn open(self) -> Result<Jobs, OpenError> {
        let Self { given, on_dead } = self;
        let settings = Settings::resolve(given, &Environment::of_process())?;
        let role = settings.role.value;
        let host = Host::current().map_err(|_| OpenError::ShuttingDown)?;
        if let Some(memory) = testing::of_test() {
            // The code under test opens its database, and gets the store of the test.
            memory.set_on_dead(on_dead);
            return Ok(Jobs::new(memory, role, None));
        }
        if host.has_store() {
            return Err(OpenError::AlreadyOpen);
        }
        let functions = functions(&host)?;
        let of_functions: Vec<_> = functions.values().map(Function::queue).collect();
        settings.log(&of_functions);
        let queues = settings.worked(&of_functions);
        if role == Role::Work {
            check_work(&functions, &queues)?;
        }
        let (opened, is_open) = oneshot::channel();
        let start = Start {
            settings,
            on_dead,
            queues,
            host: host.clone(),
            functions,
        };
        std::thread::Builder::new()
            .name("bgtask-durable".to_owned())
            .spawn(move || start.run(opened))
            .map_err(OpenError::Thread)?;
        let (stored, health_addr) = is_open
            .await
            .map_err(|_| OpenError::Thread(std::io::Error::other("the engine has ended")))??;
        let stored = Arc::new(stored);
        stored.make_known();
        if host.attach(stored.clone()).is_err() {
            stored.stop();
            return Err(OpenError::AlreadyOpen);
        }
        stored.begin();
        Ok(Jobs::new(stored, role, health_addr))
    }

    /// Works on the jobs of the database until the shutdown, as [`Role::Work`], whatever the role is set to: the whole `main` of a worker
    /// with settings of its own.
    ///
    /// # Examples
    /// ```no_run
    /// #[bgtask::main]
    /// async fn main() -> Result<(), bgtask_durable::OpenError> {
    ///     bgtask_durable::builder().queue("mail", 10).work().await
    /// }
    /// ```
    ///
    /// # Errors
    /// Those of [`open`](Self::open), and [`OpenError::NothingToWork`].
    ///
    /// # Panics
    /// Where no manager can be found: outside of a tokio runtime.
    ///
    /// # Cancel safety
    /// If the future is dropped once the store is open, the process goes on working until the shutdown.
    pub async fn work(self) -> Result<(), OpenError> {
        let host = match Host::current() {
            Ok(host) => host,
            // A worker that is ended while it starts has done what it was asked for.
            Err(_) => return Ok(()),
        };
        match self.role(Role::Work).open().await {
            Ok(_) => host.stopping().await,
            Err(OpenError::ShuttingDown) => {}
            Err(error) => return Err(error),
        }
        Ok(())
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

/// Checks that a worker has something to do: jobs that it leaves alone would wait, and nobody would notice.
fn check_work(
    functions: &HashMap<&'static str, Function>,
    queues: &BTreeMap<String, usize>,
) -> Result<(), OpenError> {
    if functions.is_empty() {
        return Err(OpenError::NothingToWork(
            "no durable function is linked into the program: name the crate that has them, such as with `use my_jobs as _;`",
        ));
    }
    if queues.is_empty() {
        return Err(OpenError::NothingToWork(
            "no job of any queue may run: set `queue` or `BGTASK_QUEUES` to more than 0 for one of them",
        ));
    }
    Ok(())
}

/// Listens for the health check, if it has an address.
async fn listen(addr: Option<Setting<SocketAddr>>) -> Result<Option<TcpListener>, OpenError> {
    let Some(Setting { value, origin }) = addr else {
        return Ok(None);
    };
    match TcpListener::bind(value).await {
        Ok(listener) => Ok(Some(listener)),
        Err(error) => Err(OpenError::Health {
            name: HEALTH_ADDR.by(origin),
            addr: value,
            error,
        }),
    }
}

/// A store that is open, and the address of its health check.
type Opened = (Stored, Option<SocketAddr>);

/// The settings of the thread of the engine.
struct Start {
    settings: Settings,
    on_dead: Option<OnDead>,
    queues: BTreeMap<String, usize>,
    host: Host,
    functions: HashMap<&'static str, Function>,
}

impl Start {
    /// Opens the database, reports the result, and works until the store is closed.
    fn run(self, opened: oneshot::Sender<Result<Opened, OpenError>>) {
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
                Ok((all, work)) => {
                    if opened.send(Ok(all)).is_ok() {
                        work.await;
                    }
                }
                Err(error) => {
                    let _ = opened.send(Err(error));
                }
            }
        });
    }

    async fn open(self) -> Result<(Opened, impl Future<Output = ()>), OpenError> {
        let Self {
            settings,
            on_dead,
            mut queues,
            host,
            functions,
        } = self;
        // Before anything is made in the database.
        let listener = listen(settings.health_addr).await?;
        let database = Database::open(settings.url(), settings.access()).await?;
        // The count scans the table, so it is made only for a log that is written.
        if tracing::enabled!(target: "bgtask", tracing::Level::INFO)
            && let Ok(stats) = database.stats().await
        {
            // With another file than the one that is meant, all jobs would seem lost.
            tracing::info!(target: "bgtask", database = database.name(), waiting = stats.count(JobState::Waiting),
                running = stats.count(JobState::Running), dead = stats.count(JobState::Dead), "the store of durable jobs is open");
        }
        let time_to_live = settings.time_to_live.value;
        let health = Arc::new(Health::new(time_to_live));
        let mut health_addr = None;
        if let Some(listener) = listener {
            health_addr = listener.local_addr().ok();
            if let Some(addr) = health_addr {
                tracing::info!(target: "bgtask", %addr, "the health check listens");
            }
            // Ends with the runtime of this thread, so it answers during the drain.
            tokio::spawn(health::serve(listener, health.clone(), host.clone()));
        }
        queues.insert(engine::SUSPECTS.to_owned(), 1);
        let front = Engine::storing(&database).map_err(OpenError::Engine)?;
        let (dead_sender, dead) = mpsc::unbounded_channel();
        let (shared, recorder) = Shared::new(
            database.clone(),
            host,
            functions,
            &queues,
            front,
            health.clone(),
            dead_sender.clone(),
        );
        let (begin, has_begun) = oneshot::channel();
        let (over, is_over) = std::sync::mpsc::channel();
        let closed = CancellationToken::new();
        let (schedules, started) = mpsc::unbounded_channel();
        let stored = Stored::new(
            shared.clone(),
            Handle::current(),
            settings.limits(),
            closed.clone(),
            schedules,
            begin,
            is_over,
        );
        let timing = Timing {
            beat: time_to_live / 4,
            time_to_live,
        };
        let rescues = Rescues {
            crash_limit: settings.crash_limit.value,
            dead: dead_sender,
            figures: shared.figures.clone(),
        };
        let works = settings.role.value.works();
        let probes = health_addr.map(|_| timing.beat);
        let settings = worker::Settings {
            queues,
            time_to_live,
            on_dead,
            dead,
        };
        let work = async move {
            // Dropped without it, if the manager got another store meanwhile.
            if has_begun.await.is_err() {
                return;
            }
            if !works {
                worker::only_store(shared, probes, closed).await;
                let _ = over.send(());
                return;
            }
            let recorder = tokio::spawn(recorder);
            let schedules = tokio::spawn(schedule::drive(shared.clone(), started));
            match Lease::start(database, timing, rescues, health.clone()) {
                Ok(lease) => worker::work(shared, lease, settings, closed).await,
                Err(error) => {
                    tracing::error!(target: "bgtask", %error, "no thread for the lease: durable jobs are stored, and not run");
                    health.is_over(
                        "there is no thread for the lease: durable jobs are stored, and not run",
                    );
                    closed.cancelled().await;
                }
            }
            recorder.abort();
            schedules.abort();
            // The shutdown may have gone on without us.
            let _ = over.send(());
        };
        Ok(((stored, health_addr), work))
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
    /// The value of a setting is wrong.
    #[non_exhaustive]
    Setting {
        /// The variable of the environment, such as `BGTASK_ROLE`, or the method of the builder, such as `queue`.
        name: &'static str,
        /// The value.
        value: String,
        /// The values that are allowed.
        expected: String,
    },
    /// The role is [`Role::Work`], and this process could work nothing, for this reason.
    NothingToWork(&'static str),
    /// The health check cannot listen on its address.
    #[non_exhaustive]
    Health {
        /// The variable of the environment, `BGTASK_HEALTH_ADDR`, or the method of the builder, `health_addr`.
        name: &'static str,
        /// The address.
        addr: SocketAddr,
        /// The reason.
        error: std::io::Error,
    },
    /// A `listen_url` is set, and the store is an SQLite file, which no pooler stands before.
    ListenUrl,
    /// A database in memory cannot survive the process.
    InMemory,
    /// The file is on a network file system, on which SQLite's locks do not work.
    #[non_exhaustive]
    NetworkFileSystem {
        /// The path of the file.
        path: String,
        /// The name of the file system.
        file_system: String,
    },
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
            OpenError::Setting {
                name,
                value,
                expected,
            } => write!(
                f,
                "the setting `{name}` is wrong: it is {value:?}, expected {expected}"
            ),
            OpenError::NothingToWork(reason) => {
                write!(f, "this worker has nothing to work on: {reason}")
            }
            OpenError::Health { name, addr, error } => write!(
                f,
                "the health check cannot listen on {addr}, which `{name}` sets: {error}; end the program that uses the port, or set another one"
            ),
            OpenError::ListenUrl => f.pad(
                "a `listen_url`, of the program or of BGTASK_LISTEN_URL, is for Postgres behind a pooler, and the store is an SQLite file: remove it",
            ),
            OpenError::InMemory => f.pad(
                "a database in memory ends with the process, and so would the jobs: use a file, such as `sqlite://bgtask.db`",
            ),
            OpenError::NetworkFileSystem { path, file_system } => write!(
                f,
                "the database {path} is on a network file system ({file_system}), on which the locks and the shared memory of SQLite do not work: use a disk of this machine, or Postgres"
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
            OpenError::Thread(error) | OpenError::Health { error, .. } => Some(error),
            _ => None,
        }
    }
}
