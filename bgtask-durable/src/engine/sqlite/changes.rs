//! SQLite: notices that another connection has written, by polling. Must never read a job.

use super::Sqlite;
use crate::engine::types::{Change, Error};
use riverqueue::sqlx;
use riverqueue::sqlx::sqlite::SqliteConnection;
use std::time::Duration;

/// How often the version of the database is read: a few instructions in the memory that all processes share.
const LOOK: Duration = Duration::from_millis(5);

/// The version of the database, as one connection has seen it.
#[derive(Debug)]
pub(crate) struct Changes {
    connection: SqliteConnection,
    /// `None` before the first look.
    last: Option<i64>,
}

impl Sqlite {
    pub(in crate::engine) async fn changes(&self) -> Result<Changes, Error> {
        Ok(Changes {
            connection: self.connect().await?,
            last: None,
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
        Ok(if self.last.replace(version) == Some(version) {
            Change::Jobs(Vec::new())
        } else {
            Change::Any
        })
    }
}
