//! The same.
#![deny(dead_code)]

#[bgtask::background]
async fn task() {}

fn main() {}
