//! Postgres: what stands in the transactions of programs. They have connections of their own, perhaps to another database.

use super::{Postgres, attempts};
use crate::engine::types::{Claim, Error, Record};
use bgtask::durable::{CompleteError, Progress};
use riverqueue::sqlx::{self, PgConnection, Row as _};

impl Postgres {
    /// Returns whether a connection of the program's is one to this database, with the tables in its search path.
    pub(in crate::engine) async fn is_that_of(
        &self,
        connection: &mut PgConnection,
    ) -> Result<bool, Error> {
        // Asked first, because a statement that fails would end the transaction.
        let has_table: bool =
            sqlx::query_scalar("SELECT to_regclass('bgtask_instance') IS NOT NULL")
                .fetch_one(&mut *connection)
                .await?;
        if !has_table {
            return Ok(false);
        }
        let id: Option<String> = sqlx::query_scalar("SELECT id FROM bgtask_instance")
            .fetch_optional(connection)
            .await?;
        Ok(id.is_some_and(|id| *id == *self.instance))
    }

    /// Completes the job of an attempt, with the progress that is not recorded yet.
    pub(in crate::engine) async fn complete(
        &self,
        connection: &mut PgConnection,
        claim: &Claim,
        output: &str,
        progress: Option<Progress>,
    ) -> Result<Result<(), CompleteError>, Error> {
        // Waits for the row, which the record of a progress may hold: the statements below leave a row out that is locked. What they
        // read stays true until the transaction ends.
        sqlx::query("SELECT 1 FROM river_job WHERE id = $1 FOR NO KEY UPDATE")
            .bind(claim.id)
            .execute(&mut *connection)
            .await?;
        let record = Record::Done {
            output: output.to_owned(),
        };
        let mut changed = Vec::new();
        for record in progress.map(Record::Progress).into_iter().chain([record]) {
            let record = [(claim.clone(), record)];
            let written = attempts::write(connection, &record, &mut changed).await?;
            if written != [true] {
                return self.not_held(connection, claim).await.map(Err);
            }
        }
        self.notify_changed(connection, &changed).await?;
        Ok(Ok(()))
    }

    /// Returns why an attempt does not hold its job.
    async fn not_held(
        &self,
        connection: &mut PgConnection,
        claim: &Claim,
    ) -> Result<CompleteError, Error> {
        let row = sqlx::query(
            "SELECT state = 'completed' AND metadata ->> 'bgtask:claim' = $1 FROM river_job WHERE id = $2",
        )
        .bind(claim.value())
        .bind(claim.id)
        .fetch_optional(connection)
        .await?;
        let is_ours = match row {
            Some(row) => row.try_get::<Option<bool>, _>(0)?.unwrap_or(false),
            None => false,
        };
        Ok(if is_ours {
            CompleteError::AlreadyCompleted
        } else {
            CompleteError::Lost
        })
    }
}
