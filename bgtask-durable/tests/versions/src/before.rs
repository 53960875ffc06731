//! The program before the change.

mod program;

use bgtask::{ShutdownToken, background};
use program::body;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Order {
    number: u32,
}

#[background(durable, retry(max = 1), name = "versions::keep")]
async fn keep(number: u32) -> u32 {
    body("keep", number).await
}

#[background(durable, retry(max = 1), name = "versions::change")]
async fn change(order: Order) -> u32 {
    body("change", order.number).await
}

#[background(durable, retry(max = 1), name = "versions::first_name")]
async fn rename(number: u32) -> u32 {
    body("rename", number).await
}

#[background(durable, retry(max = 1), name = "versions::remove")]
async fn remove(number: u32) -> u32 {
    body("remove", number).await
}

#[bgtask::main]
async fn main(shutdown: ShutdownToken) {
    program::run(shutdown, |number| {
        vec![
            keep(number),
            change(Order { number }),
            rename(number),
            remove(number),
        ]
    })
    .await;
}
