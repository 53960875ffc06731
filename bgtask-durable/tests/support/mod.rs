//! Databases, servers and clients for the tests of jobs.
#![allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "each test binary has this module, and uses a part of it"
)]

#[cfg(feature = "postgres")]
pub(crate) mod cluster;
pub(crate) mod gate;
pub(crate) mod http;
#[cfg(feature = "live")]
pub(crate) mod live;
pub(crate) mod log;
#[cfg(feature = "postgres")]
pub(crate) mod pgbouncer;
#[cfg(feature = "postgres")]
mod postgres;
pub(crate) mod proxy;
#[cfg(feature = "webhook")]
pub(crate) mod receiver;
mod scratch;
#[cfg(feature = "email")]
pub(crate) mod smtp;
pub(crate) mod store;
pub(crate) mod transactions;

#[cfg(feature = "postgres")]
pub(crate) use postgres::{Clock, as_ordinary_user, binaries};
pub(crate) use scratch::{Scratch, faketime, in_rounds, on_each_database, on_the_kit};
