//! The start of a store: a thread for the engine, and one for the lease.
//! Knows nothing of how a job is stored or run.

use crate::engine::{self, Database, Engine};
use crate::error::OpenError;
use crate::followup::Channels;
use crate::health::{self, Health};
use crate::jobs::Jobs;
use crate::lease::{Lease, Rescues, Timing};
use crate::operate::Announcement;
use crate::schedule;
use crate::service;
use crate::settings::{Builder, Environment, HEALTH_ADDR, Role, Setting, Settings};
use crate::stored::{Rules, Stored};
use crate::testing;
#[cfg(feature = "live")]
use crate::ticket::{Keys, Tickets};
use crate::worker::{self, OnDead, Shared};
use bgtask::durable::{Function, Host, JobState};
use std::collections::{BTreeMap, HashMap};
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
        let Self {
            given,
            on_dead,
            channels,
        } = self;
        let environment = Environment::of_process();
        let settings = Settings::resolve(given, &environment)?;
        let channels = channels.resolve(&environment)?;
        let role = settings.role.value;
        let host = Host::current().map_err(|_| OpenError::ShuttingDown)?;
        if let Some(memory) = testing::of_test() {
            // The code under test opens its database, and gets the store of the test.
            memory.set_up(on_dead, channels);
            return Ok(Jobs::new(memory.clone(), memory, role, None));
        }
        if host.has_store() {
            return Err(OpenError::AlreadyOpen);
        }
        let channels = Channels::new(channels);
        let functions = functions(&host)?;
        let of_functions: Vec<_> = functions.values().map(Function::queue).collect();
        settings.log(&of_functions);
        let queues = settings.worked(&of_functions);
        if role == Role::Work {
            check_work(&functions, &queues, settings.delivers_at_least())?;
        }
        let (opened, is_open) = oneshot::channel();
        let start = Start {
            settings,
            on_dead,
            queues,
            host: host.clone(),
            functions,
            channels,
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
        let operator = Arc::new(stored.operator());
        Ok(Jobs::new(stored, operator, role, health_addr))
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
            // The shutdown came before the start: the worker ends without an error.
            Err(_) => return Ok(()),
        };
        match self.role(Role::Work).open().await {
            Ok(_) => {
                noted(service::ready());
                host.stopping().await;
                noted(service::stopping());
            }
            Err(OpenError::ShuttingDown) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Logs that the service manager does not know the state of this process. It may end the process, which is its decision.
fn noted(notified: std::io::Result<bool>) {
    if let Err(error) = notified {
        tracing::warn!(target: "bgtask", %error, "the service manager could not be notified");
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
    delivers: bool,
) -> Result<(), OpenError> {
    if delivers {
        return Ok(());
    }
    if functions.keys().all(|name| *name == engine::DELIVERS) {
        return Err(OpenError::NothingToWork(
            "no durable function is linked into the program: name the crate that has them, such as with `use my_jobs as _;`",
        ));
    }
    if queues.keys().all(|name| name == engine::NOTIFY) {
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

/// Returns what signs and checks tickets: with the keys that are set, or with the one that the database keeps.
#[cfg(feature = "live")]
async fn tickets(keys: Option<Setting<Keys>>, database: &Database) -> Result<Tickets, OpenError> {
    let keys = match keys {
        Some(keys) => keys.value,
        None => {
            let new = Keys::generate()
                .map_err(|error| OpenError::TicketKey(format!("no random bytes: {error}")))?;
            let kept = database.ticket_key(&new.text()).await?;
            Keys::parse(&kept)
                .filter(Keys::are_safe)
                .ok_or_else(|| {
                    OpenError::TicketKey(
                        "the `ticket_key` in the table `bgtask_instance` is none: set it to NULL, and a new one is made"
                            .to_owned(),
                    )
                })?
        }
    };
    Ok(Tickets::new(keys, database.instance()))
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
    channels: Channels,
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
            channels,
        } = self;
        // Before anything is made in the database.
        let listener = listen(settings.health_addr).await?;
        let database = Database::open(settings.url(), settings.access()).await?;
        #[cfg(feature = "live")]
        let tickets = tickets(settings.ticket_keys.clone(), &database).await?;
        // The count scans the table, so it is made only for a log that is written.
        if tracing::enabled!(target: "bgtask", tracing::Level::INFO)
            && let Ok(stats) = database.stats().await
        {
            // With another file than the one that is meant, all jobs would seem lost.
            tracing::info!(target: "bgtask", database = database.name(), waiting = stats.count(JobState::Waiting),
                running = stats.count(JobState::Running), dead = stats.count(JobState::Dead), "the store of durable jobs is open");
        }
        let time_to_live = settings.time_to_live.value;
        let works = settings.role.value.works();
        // A worker's beats ask the database, and in another process the probes of the health check do.
        let is_asked = works || settings.health_addr.is_some();
        let health = Arc::new(Health::new(is_asked.then_some(time_to_live)));
        let mut health_addr = None;
        if let Some(listener) = listener {
            health_addr = listener.local_addr().ok();
            if let Some(addr) = health_addr {
                tracing::info!(target: "bgtask", %addr, "the health check listens");
            }
            // Ends with the runtime of this thread, so it answers during the drain.
            tokio::spawn(health::serve(listener, host.clone()));
        }
        queues.insert(engine::SUSPECTS.to_owned(), 1);
        let names = functions.keys().map(|name| (*name).to_owned()).collect();
        let engine = Engine::storing(&database).map_err(OpenError::Engine)?;
        let (dead_sender, dead) = mpsc::unbounded_channel();
        let (shared, recorder) = Shared::new(
            database.clone(),
            host,
            functions,
            &queues,
            engine,
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
            Rules {
                limits: settings.limits(),
                channels,
                delivers: queues.contains_key(engine::NOTIFY),
                #[cfg(feature = "live")]
                tickets,
            },
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
            ended: shared.ended.clone(),
        };
        let about = Announcement::of_process(database.connections(), queues.clone(), names);
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
            match Lease::start(database, timing, rescues, health.clone(), about) {
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
