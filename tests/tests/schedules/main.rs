//! Calls without a caller: by the clock, at the start, and again after a failure.

mod cron;
mod essential;
mod every;
mod handles;
mod later;
mod on_start;
mod state;
mod support;
