//! Calls: what becomes of one, who holds its handle, its group, and blocks.

// The crate under another name, as `renamed = { package = "bgtask" }` in Cargo.toml has it.
extern crate bgtask as renamed;

mod blocks;
mod blocks_with_policies;
mod errors;
mod fields;
mod groups;
mod handle;
mod handlers;
mod instrument;
mod life;
mod panics;
mod paths;
mod support;
mod texts;
mod token;
mod wrap;
