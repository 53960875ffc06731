//! The tests of durable jobs, on each database. They are one binary and share one server, because each of them mostly waits.
//!
//! A test has a binary of its own, beside this folder, if it reads everything that its process logs or measures, if it kills processes, or if
//! functions and settings of other tests would disturb it.

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
