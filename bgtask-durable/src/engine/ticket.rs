//! The key of tickets and of the dashboard's tokens, in the row of the database. Must never know what is signed.

use super::{Database, Error};
use riverqueue::sqlx;

const KEPT: &str = "SELECT ticket_key FROM bgtask_instance";

/// One statement: of two processes, the second waits for the row and finds the key of the first. SQLite takes the placeholders of
/// Postgres.
const KEEP: &str =
    "UPDATE bgtask_instance SET ticket_key = coalesce(ticket_key, $1) RETURNING ticket_key";

/// Returns the key that is kept in this pool's database, or keeps a new one.
macro_rules! key {
    ($pool:expr, $new:expr) => {{
        // Read first: a write takes a lock.
        let kept: Option<String> = sqlx::query_scalar(KEPT).fetch_one($pool).await?;
        match kept {
            Some(key) => Ok(key),
            None => sqlx::query_scalar(KEEP).bind($new).fetch_one($pool).await,
        }
    }};
}

impl Database {
    /// Returns the key of tickets, and keeps this one if there is none.
    pub(crate) async fn ticket_key(&self, new: &str) -> Result<String, Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(database) => key!(database.pool(), new),
            #[cfg(feature = "postgres")]
            Self::Postgres(database) => key!(database.pool(), new),
        }
    }
}
