//! SQLite: notices that another connection has written, by polling. Must never read a job.

use super::Sqlite;
use crate::engine::types::{Change, Error};
use riverqueue::sqlx;
use riverqueue::sqlx::sqlite::SqliteConnection;
use std::time::{Duration, Instant};

/// How often the version of the database is read: a few instructions in the memory that all processes share.
const LOOK: Duration = Duration::from_millis(5);

/// How often the waiters read their rows at most: each read is a statement.
const READ: Duration = Duration::from_millis(20);

/// The version of the database, as one connection has seen it.
#[derive(Debug)]
pub(crate) struct Changes {
    connection: SqliteConnection,
    /// `None` before the first look.
    last: Option<i64>,
    /// When the waiters last read their rows.
    read: Option<Instant>,
    /// A write has followed.
    is_unread: bool,
}

impl Sqlite {
    pub(in crate::engine) async fn changes(&self) -> Result<Changes, Error> {
        Ok(Changes {
            connection: self.connect().await?,
            last: None,
            read: None,
            is_unread: false,
        })
    }
}

impl Changes {
    /// Waits until the next look.
    pub(in crate::engine) async fn next(&mut self) -> Result<Change, Error> {
        if self.last.is_some() {
            tokio::time::sleep(LOOK).await;
        }
        // A number that changes with each write of another connection.
        let version = sqlx::query_scalar("PRAGMA data_version")
            .fetch_one(&mut self.connection)
            .await?;
        let is_new = self.last.replace(version) != Some(version);
        self.is_unread |= is_new;
        Ok(
            if self.is_unread && self.read.is_none_or(|read| read.elapsed() >= READ) {
                self.is_unread = false;
                self.read = Some(Instant::now());
                Change::Any
            } else if is_new {
                Change::Claimable(None)
            } else {
                Change::Jobs(Vec::new())
            },
        )
    }
}
