//! The settings of a store as the program gives them. What it leaves out comes from the environment, or is the default.
//! Knows nothing of how a store works.

mod channels;
mod environment;
mod names;
mod resolve;
mod values;

pub(crate) use environment::Environment;
pub(crate) use resolve::{HEALTH_ADDR, Settings};
pub(crate) use values::Setting;
pub use values::{Role, Synchronous};

use crate::engine;
#[cfg(feature = "live")]
use crate::ticket::Keys;
use crate::worker::OnDead;
use bgtask::durable::JobStatus;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The settings of a store; see [`builder()`](crate::builder).
///
/// A setting that is given here is fixed. One that is not is that of its variable in the environment, and without that the default.
#[derive(Clone, Debug, Default)]
#[must_use = "nothing is opened until `open` or `work` is awaited"]
pub struct Builder {
    pub(crate) given: Given,
    pub(crate) on_dead: Option<OnDead>,
    pub(crate) channels: channels::Given,
}

/// The settings that the program has given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given {
    url: Option<Url>,
    listen_url: Option<Url>,
    role: Option<Role>,
    queues: BTreeMap<String, usize>,
    time_to_live: Option<Duration>,
    enqueue_limit: Option<Duration>,
    crash_limit: Option<u32>,
    argument_limit: Option<usize>,
    output_limit: Option<usize>,
    connections: Option<u32>,
    synchronous: Option<Synchronous>,
    health_addr: Option<SocketAddr>,
    #[cfg(feature = "live")]
    ticket_keys: Option<Keys>,
}

/// The URL of a database, which may hold a password.
#[derive(Clone)]
struct Url(String);

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&engine::without_password(&self.0))
    }
}

impl Builder {
    /// Sets the database, whatever `BGTASK_DATABASE_URL` is: `sqlite://path`, or `postgres://user@host/database` with the feature
    /// `postgres`. Default: `BGTASK_DATABASE_URL`, or `sqlite://bgtask.db`.
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.given.url = Some(Url(url.into()));
        self
    }

    /// Sets the address of the Postgres server itself, if the URL is that of a pooler that lends its sessions, such as PgBouncer in
    /// transaction mode. Default: `BGTASK_LISTEN_URL`, or none.
    ///
    /// The process then listens, beats and rescues around the pooler, on up to 3 connections. Without it, it polls behind such a
    /// pooler.
    pub fn listen_url(mut self, url: impl Into<String>) -> Self {
        self.given.listen_url = Some(Url(url.into()));
        self
    }

    /// Sets what this process does with the jobs. Default: `BGTASK_ROLE`, or [`Role::Both`].
    pub fn role(mut self, role: Role) -> Self {
        self.given.role = Some(role);
        self
    }

    /// Sets how many jobs of a queue run at once in this process: up to 10,000, and with 0 the process leaves the queue to others. The
    /// name `*` stands for all queues that are not named. Default: `BGTASK_QUEUES`, or 50.
    ///
    /// The process works the queues of its durable functions and those set here. Of a queue that is set twice, the last number holds.
    ///
    /// # Examples
    /// ```
    /// let mail_only = bgtask_durable::builder().queue("mail", 10).queue("*", 0);
    /// ```
    pub fn queue(mut self, name: impl Into<String>, at_once: usize) -> Self {
        self.given.queues.insert(name.into(), at_once);
        self
    }

    /// Sets how long a process may show no sign of life before the others run its jobs: 100 ms to 1 h. Default:
    /// `BGTASK_TIME_TO_LIVE`, or 4 s.
    ///
    /// Set the same in all processes that share the database. A process shows a sign of life four times in this time.
    pub fn time_to_live(mut self, time_to_live: Duration) -> Self {
        self.given.time_to_live = Some(time_to_live);
        self
    }

    /// Sets how long a call may take to be stored, before it returns an error. Default: `BGTASK_ENQUEUE_LIMIT`, or 5 s.
    pub fn enqueue_limit(mut self, limit: Duration) -> Self {
        self.given.enqueue_limit = Some(limit);
        self
    }

    /// Sets at how many crashes a job is dead: how often the process died that ran it, at least 1. Default: `BGTASK_CRASH_LIMIT`, or 5.
    ///
    /// Set the same in all processes that share the database.
    pub fn crash_limit(mut self, limit: u32) -> Self {
        self.given.crash_limit = Some(limit);
        self
    }

    /// Sets how large the encoded arguments of a call may be: 1,024 bytes to 64 MiB. Default: `BGTASK_ARGUMENT_LIMIT`, or 256 KiB.
    ///
    /// Each claim of a job reads them.
    pub fn argument_limit(mut self, bytes: usize) -> Self {
        self.given.argument_limit = Some(bytes);
        self
    }

    /// Sets how large an encoded output may be: 1,024 bytes to 64 MiB. Default: `BGTASK_OUTPUT_LIMIT`, or 256 KiB.
    pub fn output_limit(mut self, bytes: usize) -> Self {
        self.given.output_limit = Some(bytes);
        self
    }

    /// Sets how many connections of the pool this process has at most, for stored calls, claims and ends: 2 to 1,000. Default:
    /// `BGTASK_CONNECTIONS`, or 4 for SQLite and 10 for Postgres.
    pub fn connections(mut self, connections: u32) -> Self {
        self.given.connections = Some(connections);
        self
    }

    /// Sets when a commit of SQLite counts as stored. Default: `BGTASK_SYNCHRONOUS`, or [`Synchronous::Full`].
    ///
    /// For a Postgres database it is an error: there, `synchronous_commit` of the user or of the session decides.
    pub fn synchronous(mut self, synchronous: Synchronous) -> Self {
        self.given.synchronous = Some(synchronous);
        self
    }

    /// Sets the address at which `GET /healthz` and `GET /readyz` are answered, with the two checks of [`bgtask::health()`]. Default:
    /// `BGTASK_HEALTH_ADDR`, or none.
    ///
    /// With port 0 the system chooses one; [`Jobs::health_addr`](crate::Jobs::health_addr) returns it. Everyone who reaches the
    /// address may ask, so bind it to the loopback or to a private network.
    pub fn health_addr(mut self, addr: SocketAddr) -> Self {
        self.given.health_addr = Some(addr);
        self
    }

    /// Sets the keys of tickets: the first signs, and all of them check. At least 32 random bytes each, the same in all processes.
    /// Default: `BGTASK_TICKET_KEYS`, or one that the store makes once and keeps in the database.
    ///
    /// To replace a key, put the new one first, and leave the old one out once its last ticket has expired. All tickets of a key that is
    /// left out are void at once.
    ///
    /// # Examples
    /// ```no_run
    /// # fn secret(name: &str) -> Vec<u8> { name.into() }
    /// let store = bgtask_durable::builder().ticket_keys([secret("tickets-2027"), secret("tickets-2026")]);
    /// ```
    #[cfg(feature = "live")]
    pub fn ticket_keys<K: Into<Vec<u8>>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        let keys = keys.into_iter().map(Into::into);
        self.given.ticket_keys = Some(Keys::new(keys.collect()));
        self
    }

    /// Sets what to do about a job that is dead: its attempts are used up, or its process has died too often.
    ///
    /// The process that has recorded this calls the hook, for one job after the other, on a thread where it may block. If that
    /// process dies at this moment, or the answer of the database is lost, no other one calls it.
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
}
