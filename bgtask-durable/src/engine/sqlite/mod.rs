//! SQLite: opens the file, and its connections. The statements are in the files of this folder, by subject.
//! Each write for an attempt carries the attempt's claim; the fence drops those that do not.

/// Raises the version of a row, among the members that `jsonb_set` sets in its metadata.
macro_rules! raised {
    () => {
        "'$.\"bgtask:version\"', coalesce(json_extract(metadata, '$.\"bgtask:version\"'), 0) + 1"
    };
}

mod attempts;
mod changes;
mod claim;
mod examine;
mod follow;
#[cfg(feature = "dashboard")]
mod inspect;
mod lease;
mod migrate;
mod operate;
mod place;
mod read;
mod schedule;
mod upkeep;
mod within;

use super::types::{Access, Error, LOCK_WAIT, Tables};
use crate::OpenError;
use bgtask::durable::EnqueueError;
use riverqueue::sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use riverqueue::sqlx::{ConnectOptions, Connection as _};
use std::fs::File;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

pub(super) use changes::Changes;
pub(super) use lease::{beat, probe, register, rescue, unregister, workers};
pub(super) use schedule::{
    drop_schedules, pause_schedule, resume_schedule, schedule_options, schedules, see_schedule,
    set_schedule_job, write_schedule,
};
pub(super) use within::{complete, error_within};

/// The connections of the pool unless the program says otherwise. One at a time writes.
const CONNECTIONS: u32 = 4;

/// A database, open and migrated.
#[derive(Clone, Debug)]
pub(crate) struct Sqlite {
    pool: SqlitePool,
    options: SqliteConnectOptions,
    /// The id of this database, which a transaction of the program's is compared with.
    instance: Arc<str>,
}

impl Sqlite {
    pub(in crate::engine) async fn open(url: &str, access: Access) -> Result<Self, OpenError> {
        let options = SqliteConnectOptions::from_str(url)
            .map_err(|error| OpenError::Url {
                url: url.to_owned(),
                message: error.to_string(),
            })?
            .create_if_missing(access.tables == Tables::Make)
            // The program's log is not the place for the statements of a store.
            .disable_statement_logging()
            .synchronous(if access.is_normal {
                SqliteSynchronous::Normal
            } else {
                SqliteSynchronous::Full
            })
            .busy_timeout(LOCK_WAIT);
        if url.contains(":memory:") || url.contains("mode=memory") {
            return Err(OpenError::InMemory);
        }
        // SQLite takes it for a file that each connection deletes at its end.
        if options.get_filename().as_os_str().is_empty() {
            return Err(OpenError::Url {
                url: url.to_owned(),
                message: "it names no file: write `sqlite://bgtask.db`, or an absolute path after `sqlite://`".to_owned(),
            });
        }
        let path = absolute(&options);
        place::check(&path)?;
        let options = match access.tables {
            Tables::Make => options.journal_mode(SqliteJournalMode::Wal),
            // The mode is a property of the file, which stays as it is.
            Tables::Require | Tables::Leave if path.exists() => options,
            Tables::Require | Tables::Leave => {
                return Err(OpenError::Missing {
                    path: path.display().to_string(),
                });
            }
        };
        Self::open_file(options, access)
            .await
            .map_err(|error| match error {
                // Which file, and why: the path may be relative, and the URL from the environment.
                OpenError::Database(error) => {
                    let cure = error.downcast_ref().and_then(cure).unwrap_or_default();
                    OpenError::Database(format!("{}: {error}{cure}", path.display()).into())
                }
                OpenError::Migrate(error) => {
                    OpenError::Migrate(format!("{}: {error}", path.display()))
                }
                OpenError::Lock(message) => {
                    OpenError::Lock(format!("{}: {message}", path.display()))
                }
                error => error,
            })
    }

    async fn open_file(options: SqliteConnectOptions, access: Access) -> Result<Self, OpenError> {
        // Held while the schema is made: of five processes that migrate at once, most would fail.
        let _lock = match access.tables {
            Tables::Make => {
                let lock = lock_beside(&options);
                Some(lock.map_err(|error| OpenError::Lock(explained(&error)))?)
            }
            Tables::Require | Tables::Leave => None,
        };
        let pool = SqlitePoolOptions::new()
            .max_connections(access.connections.unwrap_or(CONNECTIONS))
            .acquire_timeout(LOCK_WAIT)
            // On a full disk, SQLite rolls a transaction back by itself. sqlx takes the connection for one within a transaction from
            // then on, and each transaction that it is to begin fails.
            .before_acquire(|connection, _| {
                let is_clean = !connection.is_in_transaction();
                Box::pin(async move { Ok(is_clean) })
            })
            .connect_with(options.clone())
            .await?;
        let mut database = Self {
            pool,
            options,
            instance: Arc::default(),
        };
        database.instance = match access.tables {
            Tables::Make => database.migrate().await?.into(),
            Tables::Require => database.check_tables().await?.into(),
            Tables::Leave => Arc::default(),
        };
        Ok(database)
    }

    pub(in crate::engine) fn name(&self) -> String {
        absolute(&self.options).display().to_string()
    }

    pub(in crate::engine) fn pool(&self) -> &SqlitePool {
        &self.pool
    }

    #[cfg(any(test, feature = "live", feature = "dashboard"))]
    pub(in crate::engine) fn instance(&self) -> &str {
        &self.instance
    }

    /// Opens a connection that is not one of the pool's.
    pub(in crate::engine) async fn connect(&self) -> Result<SqliteConnection, Error> {
        self.options.connect().await
    }

    pub(in crate::engine) async fn close(&self) {
        self.pool.close().await;
    }
}

/// Returns what is known of a job whose insertion failed.
pub(super) fn enqueue_error(error: &Error) -> EnqueueError {
    match error {
        // Before anything was written.
        Error::PoolTimedOut => EnqueueError::Busy,
        Error::PoolClosed => EnqueueError::Closed,
        // SQLITE_BUSY and SQLITE_LOCKED, with their extended codes.
        error if matches!(primary_code(error), Some(5 | 6)) => EnqueueError::Busy,
        // Nothing of the transaction is in the file.
        error if primary_code(error) == Some(FULL) => {
            EnqueueError::store(format!("the disk of the database is full: {error}"))
        }
        error if primary_code(error) == Some(READONLY) => {
            EnqueueError::store(format!("the database cannot be written: {error}"))
        }
        // The statement failed, and its transaction with it.
        error if is_refused(error) => EnqueueError::store(error.to_string()),
        error => EnqueueError::unknown(error.to_string()),
    }
}

/// Whether the database refuses the values of a write, so that it would do so for ever: it does not accept them as JSON, or they
/// break a constraint.
pub(super) fn is_refused(error: &Error) -> bool {
    // SQLITE_ERROR, SQLITE_TOOBIG and SQLITE_CONSTRAINT, with their extended codes.
    primary_code(error).is_some_and(|code| matches!(code, 1 | 18 | 19))
}

/// Returns what to do about a file that cannot be opened.
fn cure(error: &Error) -> Option<&'static str> {
    Some(match primary_code(error)? {
        READONLY => ": the process has to write to the file and its folder",
        FULL => ": make room on its disk",
        CANTOPEN => ": the process has to read and write the file and its folder",
        NOTADB => ": it is something else, and stays as it is; name another file",
        _ => return None,
    })
}

/// Codes of SQLite.
const READONLY: u32 = 8;
const FULL: u32 = 13;
const CANTOPEN: u32 = 14;
const NOTADB: u32 = 26;

fn primary_code(error: &Error) -> Option<u32> {
    let code = error.as_database_error()?.code()?.parse::<u32>().ok()?;
    Some(code & 0xff)
}

/// Returns the path of the file, which may have been written relative to the working directory.
fn absolute(options: &SqliteConnectOptions) -> PathBuf {
    let path = options.get_filename();
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Returns the text of an error about the folder of the database, with what to do about it.
fn explained(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "its folder does not exist: create it".to_owned(),
        std::io::ErrorKind::PermissionDenied => format!(
            "{error}: the process has to write to the folder, where SQLite has files beside the database"
        ),
        std::io::ErrorKind::ReadOnlyFilesystem => {
            format!("{error}: the process has to write to the database: use another disk")
        }
        std::io::ErrorKind::StorageFull => format!("{error}: make room on the disk"),
        _ => error.to_string(),
    }
}

/// Locks a file beside the database, which the operating system unlocks however this process ends.
fn lock_beside(options: &SqliteConnectOptions) -> std::io::Result<File> {
    let mut path = PathBuf::from(options.get_filename()).into_os_string();
    path.push("-bgtask.lock");
    let file = File::options()
        .create(true)
        .write(true)
        .truncate(false)
        .open(&path)
        .map_err(|error| {
            std::io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        })?;
    file.lock()?;
    Ok(file)
}
