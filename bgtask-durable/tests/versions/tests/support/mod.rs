//! The databases of the tests of jobs, for these tests.
#![allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "these tests use a part of it"
)]

#[cfg(feature = "postgres")]
#[path = "../../../support/postgres.rs"]
mod postgres;
#[path = "../../../support/scratch.rs"]
mod scratch;
#[path = "../../../support/transactions.rs"]
pub(crate) mod transactions;

#[cfg(feature = "postgres")]
pub(crate) use postgres::Clock;
pub(crate) use scratch::{Scratch, faketime, in_rounds, on_each_database, on_the_kit};
