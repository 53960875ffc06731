//! The policies around one body.

mod coalesce;
mod combined;
mod concurrency;
mod dropped;
mod random_schedules;
mod rate;
mod retry;
mod state;
mod support;
mod timeout;
