//! SQLite: the statements on the schedules of durable functions. Knows nothing of jobs but whether one has ended.

use riverqueue::sqlx::sqlite::{SqliteConnection, SqliteRow};

crate::engine::schedule::statements! {
    SqliteConnection, SqliteRow,
    // The clock of the machine, in milliseconds.
    now: "(CAST(round(unixepoch('now', 'subsec') * 1000) AS INTEGER) * 1000)"
}
