//! Postgres: notifies of jobs that have changed, and listens for them and for jobs to claim, on a connection of its own. Must never
//! read a job.

use super::{Postgres, control_channel, end_channel, insert_channel, limited};
use crate::engine::types::{Change, Error, LOCK_WAIT};
use riverqueue::sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use riverqueue::sqlx::{self, PgConnection};
use serde::Deserialize;
use std::time::Duration;

/// How long the listener hears nothing before it asks whether the server is still there, and has all waiters look: a tool may
/// have ended a job without notifying.
const SILENCE: Duration = Duration::from_secs(5);

/// How often waiters look where nobody notifies them.
const LOOK: Duration = Duration::from_millis(100);

/// The notifications of jobs.
#[derive(Debug)]
pub(crate) struct Changes {
    /// The channel that names jobs which have changed.
    ends: String,
    /// `None` where a session does not last: waiters look from time to time.
    listener: Option<PgListener>,
    /// Nothing has been heard yet, so whatever ended before this listened is to be read.
    is_new: bool,
}

impl Postgres {
    /// Notifies those who wait for these jobs or watch them, in the transaction that changes them: it is sent when that commits, and
    /// one that is woken finds the change.
    pub(super) async fn notify_changed(
        &self,
        connection: &mut PgConnection,
        ids: &[i64],
    ) -> Result<(), Error> {
        if ids.is_empty() {
            return Ok(());
        }
        sqlx::query("SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload")
            .bind(end_channel(&self.schema))
            .bind(payloads(ids))
            .execute(connection)
            .await
            .map(drop)
    }

    /// The same outside of a transaction.
    pub(in crate::engine) async fn notify_all_changed(&self, ids: &[i64]) -> Result<(), Error> {
        let mut connection = self.acquire().await?;
        self.notify_changed(&mut connection, ids).await
    }
}

impl Changes {
    pub(super) async fn listen(
        options: PgConnectOptions,
        schema: &str,
        works: bool,
    ) -> Result<Self, Error> {
        // The listener takes a connection from a pool. This one is its own.
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(LOCK_WAIT)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(options);
        let mut listener = PgListener::connect_with(&pool).await?;
        let ends = end_channel(schema);
        let mut channels = vec![ends.clone()];
        if works {
            channels.extend([insert_channel(schema), control_channel(schema)]);
        }
        limited(listener.listen_all(channels.iter().map(String::as_str))).await?;
        Ok(Self {
            ends,
            listener: Some(listener),
            is_new: true,
        })
    }

    pub(super) fn polled() -> Self {
        Self {
            ends: String::new(),
            listener: None,
            is_new: true,
        }
    }

    pub(in crate::engine) fn must_be_read(&self) -> bool {
        self.listener.is_some()
    }

    /// Waits for a change.
    pub(in crate::engine) async fn next(&mut self) -> Result<Change, Error> {
        if std::mem::take(&mut self.is_new) {
            return Ok(Change::Any);
        }
        let Some(listener) = &mut self.listener else {
            tokio::time::sleep(LOOK).await;
            return Ok(Change::Any);
        };
        match tokio::time::timeout(SILENCE, listener.try_recv()).await {
            Ok(Ok(Some(heard))) if heard.channel() == self.ends => Ok(match ids(heard.payload()) {
                Some(ids) => Change::Jobs(ids),
                None => Change::Any,
            }),
            Ok(Ok(Some(heard))) => Ok(Change::Claimable(queue(heard.payload()))),
            // The connection broke, and is there again. What was sent meanwhile is lost.
            Ok(Ok(None)) => Ok(Change::Any),
            Ok(Err(error)) => Err(error),
            Err(_) => {
                limited(sqlx::query("SELECT 1").execute(listener)).await?;
                Ok(Change::Any)
            }
        }
    }
}

/// Reads the ids of a notification; see [`payload`].
fn ids(payload: &str) -> Option<Vec<i64>> {
    payload.split(',').map(|id| id.parse().ok()).collect()
}

/// Reads the queue that River's clients name when it has new jobs or is resumed. `None` if they name all.
fn queue(payload: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Payload {
        queue: String,
    }
    let payload = serde_json::from_str::<Payload>(payload).ok();
    payload
        .map(|payload| payload.queue)
        .filter(|queue| queue != "*")
}

/// Returns the payloads of the notifications of these jobs. The server accepts less than 8000 bytes in one.
pub(super) fn payloads(ids: &[i64]) -> Vec<String> {
    ids.chunks(350)
        .map(|ids| {
            let ids: Vec<_> = ids.iter().map(i64::to_string).collect();
            ids.join(",")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{ids, payloads};

    #[test]
    fn payloads_are_short_enough_and_name_all_jobs() {
        let ended: Vec<_> = (0..1000).map(|less| i64::MAX - less).collect();
        let payloads = payloads(&ended);
        assert!(payloads.iter().all(|payload| payload.len() < 8000));
        let heard: Vec<_> = payloads
            .iter()
            .flat_map(|payload| ids(payload).expect("ids"))
            .collect();
        assert_eq!(heard, ended);
        assert_eq!(ids("of another version"), None);
    }
}
