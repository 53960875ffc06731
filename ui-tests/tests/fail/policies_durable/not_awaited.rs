#![deny(unused_must_use)]

use bgtask::background;

#[background(durable)]
async fn stored() {}

async fn caller() {
    stored();
}

fn main() {
    drop(caller());
}
