//! Postgres: the statements on the schedules of durable functions. Knows nothing of jobs but whether one has ended.

use riverqueue::sqlx::PgConnection;
use riverqueue::sqlx::postgres::PgRow;

crate::engine::schedule::statements! {
    PgConnection, PgRow,
    // Not the time of the transaction's begin: the statement may have waited.
    now: "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
}
