//! Postgres: the key of tickets, in the row of the database. Must never know what a ticket is.

use super::Postgres;
use crate::engine::types::Error;
use riverqueue::sqlx;

impl Postgres {
    /// Returns the key that is kept. `None` before there is one.
    pub(in crate::engine) async fn ticket_key(&self) -> Result<Option<String>, Error> {
        sqlx::query_scalar("SELECT ticket_key FROM bgtask_instance")
            .fetch_one(&self.pool)
            .await
    }

    /// Keeps this key, unless another process has been faster, and returns the one that is kept.
    pub(in crate::engine) async fn keep_ticket_key(&self, key: &str) -> Result<String, Error> {
        // One statement: of two processes, the second waits for the row and finds the key of the first.
        sqlx::query_scalar(
            "UPDATE bgtask_instance SET ticket_key = coalesce(ticket_key, $1) RETURNING ticket_key",
        )
        .bind(key)
        .fetch_one(&self.pool)
        .await
    }
}
