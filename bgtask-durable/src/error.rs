//! Why a store could not be opened: each reason with what to do about it.
//! Must never know how a store is opened.

use crate::engine;
use std::error::Error;
use std::fmt;
use std::net::SocketAddr;

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
    /// The role is [`Role::Work`](crate::Role::Work), and this process could work nothing, for this reason.
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
    /// The tables lack something that this program needs, and it was not to make it: [`Builder::operate`](crate::Builder::operate).
    #[non_exhaustive]
    OlderSchema {
        /// The version of the tables. `None` if there are none.
        version: Option<i64>,
        /// The version that this program needs.
        known: i64,
        /// The tables, columns and indexes that are missing.
        missing: Vec<String>,
    },
    /// There is no file of the database, and it was not to be made: [`Builder::operate`](crate::Builder::operate).
    #[non_exhaustive]
    Missing {
        /// The path of the file.
        path: String,
    },
    /// Two durable functions have the same name, or one has the former name of the other, so their jobs would be stored under one name.
    #[non_exhaustive]
    SameName {
        /// The name.
        name: &'static str,
        /// The functions, with their locations.
        functions: [String; 2],
    },
    /// There is no key for tickets.
    #[cfg(feature = "live")]
    TicketKey(String),
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
                "the tables have version {newest}, and this program knows {known} and earlier: update the program"
            ),
            OpenError::OlderSchema { version: None, .. } => f.pad(
                "the database has no tables of bgtask: correct the URL, or make the tables with `bgtask migrate`, which a program that opens its store does too",
            ),
            OpenError::OlderSchema {
                version: Some(version),
                known,
                missing,
            } => {
                if version < known {
                    write!(
                        f,
                        "the tables have version {version}, and this program needs {known}"
                    )?;
                } else {
                    write!(f, "the tables lack {}", missing.join(", "))?;
                }
                f.write_str(": run `bgtask migrate`, or start a program of this version that opens its store")
            }
            OpenError::Missing { path } => write!(
                f,
                "there is no database {path}: name another one with `--url` or BGTASK_DATABASE_URL, or make it with `bgtask migrate --create`"
            ),
            OpenError::SameName { name, functions } => write!(
                f,
                "the jobs of {} and {} would both be stored as {name:?}: give one another `name`",
                functions[0], functions[1]
            ),
            #[cfg(feature = "live")]
            OpenError::TicketKey(message) => write!(f, "there is no key for tickets: {message}"),
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
