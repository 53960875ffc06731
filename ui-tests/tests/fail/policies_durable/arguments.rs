use bgtask::background;
use serde::{Deserialize, Serialize};

struct Plain;

#[derive(Serialize)]
struct WithoutDeserialize;

#[derive(Serialize, Deserialize)]
struct Order;

#[background(durable)]
async fn takes_what_is_not_stored(order: Order, plain: Plain) {
    drop((order, plain));
}

#[background(durable)]
async fn takes_what_is_not_loaded(order: WithoutDeserialize) {
    drop(order);
}

fn main() {}
