//! SQLite: what stands in the transactions of programs. They have connections of their own, perhaps to another database.

use super::{Sqlite, attempts};
use crate::engine::types::{Claim, Error, Record};
use bgtask::durable::{CompleteError, EnqueueError, Progress};
use riverqueue::sqlx::{self, Row as _, SqliteConnection};

/// Returns the id of the database.
pub(super) async fn instance(connection: &mut SqliteConnection) -> Result<String, Error> {
    sqlx::query_scalar("SELECT id FROM bgtask_instance")
        .fetch_one(connection)
        .await
}

impl Sqlite {
    /// Returns whether a connection of the program's is one to this database.
    pub(in crate::engine) async fn is_that_of(
        &self,
        connection: &mut SqliteConnection,
    ) -> Result<bool, Error> {
        // A write, though it changes nothing: it waits for the lock, which a transaction that has only read could not have any more
        // once another connection has written.
        let locked = sqlx::query("UPDATE bgtask_instance SET id = id WHERE false")
            .execute(&mut *connection)
            .await;
        let found = match locked {
            Ok(_) => {
                let found = sqlx::query_scalar("SELECT id FROM bgtask_instance");
                found.fetch_optional(connection).await
            }
            Err(error) => Err(error),
        };
        match found {
            Ok(id) => Ok(id.is_some_and(|id: String| *id == *self.instance)),
            // A failed statement does not end a transaction of SQLite's.
            Err(Error::Database(error)) if error.message().starts_with("no such table") => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

/// Completes the job of an attempt, with the progress that is not recorded yet.
pub(in crate::engine) async fn complete(
    connection: &mut SqliteConnection,
    claim: &Claim,
    output: &str,
    progress: Option<Progress>,
) -> Result<Result<(), CompleteError>, Error> {
    if let Some(progress) = progress {
        // If it holds no job, the next statement says so.
        attempts::write(connection, &[(claim.clone(), Record::Progress(progress))]).await?;
    }
    let record = Record::Done {
        output: output.to_owned(),
    };
    let written = attempts::write(connection, &[(claim.clone(), record)]).await?;
    if written.contains(&claim.id) {
        return Ok(Ok(()));
    }
    let ended_by = sqlx::query(
        "SELECT state = 'completed' AND json_extract(metadata, '$.\"bgtask:claim\"') = ? FROM river_job WHERE id = ?",
    )
    .bind(claim.value())
    .bind(claim.id)
    .fetch_optional(connection)
    .await?;
    let is_ours = match ended_by {
        Some(row) => row.try_get::<Option<bool>, _>(0)?.unwrap_or(false),
        None => false,
    };
    Ok(Err(if is_ours {
        CompleteError::AlreadyCompleted
    } else {
        CompleteError::Lost
    }))
}

/// Returns why a job could not be stored in a transaction of the program's, of which nothing is stored before it commits.
pub(in crate::engine) fn error_within(error: &Error) -> EnqueueError {
    match super::enqueue_error(error) {
        EnqueueError::Busy => EnqueueError::store(
            "the transaction cannot have the write lock: begin it with `begin_with(\"BEGIN IMMEDIATE\")`"
                .to_owned(),
        ),
        EnqueueError::Closed => EnqueueError::Closed,
        _ => EnqueueError::store(error.to_string()),
    }
}
