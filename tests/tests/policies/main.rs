//! The policies around one body.

mod coalesce;
mod combined;
mod concurrency;
mod constants;
mod dropped;
mod overrides;
mod random_schedules;
mod rate;
mod retry;
mod state;
mod support;
mod timeout;
