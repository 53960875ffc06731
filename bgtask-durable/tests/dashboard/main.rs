//! The pages of durable jobs in the dashboard, and their actions, over HTTP: who may do what, what is shown, and what happens.

mod access;
mod actions;
mod browser;
mod content;
mod hostile;
mod site;
#[path = "../support/mod.rs"]
mod support;

use support::{Scratch, on_each_database};
