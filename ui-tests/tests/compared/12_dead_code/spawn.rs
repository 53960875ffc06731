//! A function that nobody calls
#![deny(dead_code)]

async fn task() {}

fn main() {}
