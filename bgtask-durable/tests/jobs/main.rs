//! What happens to jobs, on each database. One binary, whose tests share one server: each waits for most of its time.
//!
//! A file beside this one is a binary of its own where all that the process logs or measures is read, where processes are killed, or
//! where functions or settings of other tests would be in the way.

mod attempts;
mod backup;
mod calls;
mod dead_jobs;
mod email;
mod failover;
mod harm;
mod in_process;
mod least_privilege;
mod live;
mod lost_replies;
mod notify;
mod operate;
mod postgres;
mod postgres_transactions;
mod roles;
mod routes;
mod schedules;
#[path = "../support/mod.rs"]
mod support;
mod tickets;
mod time;
mod transactions;
mod watch;
mod webhook;
