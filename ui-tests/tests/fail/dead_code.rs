#![deny(dead_code)]

#[bgtask::background]
async fn nobody_calls_this() {}

#[bgtask::background]
fn nor_this() {}

fn main() {}
