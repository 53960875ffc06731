//! What a worker writes about itself for people to read: its host and its queues. Must never decide anything.

use super::{Database, Error};
use riverqueue::sqlx;

/// SQLite takes the placeholders of Postgres.
const DESCRIBE: &str = "UPDATE bgtask_worker SET host = $1, queues = $2 WHERE id = $3";

impl Database {
    /// Sets the host and the queues of a worker, the latter as JSON.
    pub(crate) async fn describe(
        &self,
        worker: &str,
        host: Option<&str>,
        queues: &str,
    ) -> Result<(), Error> {
        macro_rules! described {
            ($pool:expr) => {
                sqlx::query(DESCRIBE)
                    .bind(host)
                    .bind(queues)
                    .bind(worker)
                    .execute($pool)
                    .await
                    .map(drop)
            };
        }
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(database) => described!(database.pool()),
            #[cfg(feature = "postgres")]
            Self::Postgres(database) => described!(&mut *database.acquire().await?),
        }
    }
}
