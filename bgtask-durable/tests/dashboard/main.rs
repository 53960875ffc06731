//! The pages of durable jobs in the dashboard, and their actions, over HTTP: who may do what, what is shown, and what happens.

mod access;
mod actions;
mod browser;
mod content;
mod hostile;
mod site;
#[path = "../support/store.rs"]
mod store;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/transactions.rs"]
mod transactions;

use support::{Scratch, on_each_database};
