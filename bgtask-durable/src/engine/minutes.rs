//! The ends of attempts by the minute, in one table of all processes. Its rows survive restarts, and are kept for two days.
//! Must never know who counts, nor who looks.

#[cfg(feature = "postgres")]
use super::postgres::Postgres;
use super::row::read_error;
#[cfg(feature = "sqlite")]
use super::sqlite::Sqlite;
use super::{Database, Error, each};
use crate::operate::{EndCounts, Minutes, Throughput};
use bgtask::durable::JobError;

/// Makes the statements of a database. `now` is its minute, counted from 1970. SQLite takes the placeholders of Postgres.
macro_rules! minutes {
    ($database:ident, now: $now:literal) => {
        impl $database {
            /// Adds to the ends of the minute now.
            async fn count_ended(&self, ended: EndCounts) -> Result<(), Error> {
                let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
                // One row, so that processes which count at the same time wait for each other, and never in a circle.
                riverqueue::sqlx::query(concat!(
                    "INSERT INTO bgtask_minute (minute, done, retried, dead) VALUES (",
                    $now,
                    ", $1, $2, $3) ON CONFLICT (minute) DO UPDATE SET done = bgtask_minute.done + excluded.done,
                         retried = bgtask_minute.retried + excluded.retried, dead = bgtask_minute.dead + excluded.dead"
                ))
                .bind(number(ended.done))
                .bind(number(ended.retried))
                .bind(number(ended.dead))
                .execute(self.pool())
                .await
                .map(drop)
            }

            async fn drop_minutes(&self) -> Result<(), Error> {
                riverqueue::sqlx::query(concat!(
                    "DELETE FROM bgtask_minute WHERE minute < ",
                    $now,
                    " - 2880"
                ))
                .execute(self.pool())
                .await
                .map(drop)
            }

            async fn minutes(&self) -> Result<Minutes, Error> {
                // At most 1440 rows, by their key. The minute now stands beside each, and alone if there is none.
                let rows: Vec<(i64, Option<i64>, Option<i64>, Option<i64>, Option<i64>)> =
                    riverqueue::sqlx::query_as(concat!(
                        "SELECT clock.now, minute, done, retried, dead FROM (SELECT ", $now, " AS now) AS clock
                         LEFT JOIN bgtask_minute ON minute > clock.now - 1440 ORDER BY minute"
                    ))
                    .fetch_all(self.pool())
                    .await?;
                let mut minutes = Minutes::default();
                for (now, minute, done, retried, dead) in rows {
                    minutes.now = now;
                    let number = |number: Option<i64>| number.unwrap_or(0).max(0).unsigned_abs();
                    let ended = EndCounts::new(number(done), number(retried), number(dead));
                    minutes.ended.extend(minute.map(|minute| (minute, ended)));
                }
                Ok(minutes)
            }
        }
    };
}

#[cfg(feature = "sqlite")]
minutes! { Sqlite, now: "(unixepoch() / 60)" }

#[cfg(feature = "postgres")]
minutes! { Postgres, now: "floor(extract(epoch FROM now()) / 60)::bigint" }

impl Database {
    /// Adds to the ends of the minute now, by the clock of the database.
    pub(crate) async fn count_ended(&self, ended: EndCounts) -> Result<(), Error> {
        each!(Self, self, database => database.count_ended(ended).await)
    }

    /// Deletes the minutes that are older than two days.
    pub(crate) async fn drop_minutes(&self) -> Result<(), Error> {
        each!(Self, self, database => database.drop_minutes().await)
    }

    /// Returns the ends of the last day.
    pub(crate) async fn minutes(&self) -> Result<Minutes, Error> {
        each!(Self, self, database => database.minutes().await)
    }

    /// Returns the sums of the last hour and day.
    pub(crate) async fn throughput(&self) -> Result<Throughput, JobError> {
        let minutes = self.minutes().await;
        Ok(minutes.map_err(|error| read_error(&error))?.throughput())
    }
}
