//! Calls: what becomes of one, who holds its handle, and how they are grouped, written as blocks and traced.

// What `renamed = { package = "bgtask" }` in Cargo.toml comes to: the crate under another name.
extern crate bgtask as renamed;

mod blocks;
mod failure;
mod groups;
mod instrument;
mod life;
mod seeing;
