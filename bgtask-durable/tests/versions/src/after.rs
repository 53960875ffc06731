//! The program after the change: a function more, one less, one that has another name, one whose argument has another field.

mod program;

use bgtask::{ShutdownToken, background};
use program::body;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Order {
    number: u32,
    // Jobs that the other version stores have none, and it ignores those of this one.
    #[serde(default)]
    note: Option<String>,
}

#[background(durable, retry(max = 1), name = "versions::keep")]
async fn keep(number: u32) -> u32 {
    body("keep", number).await
}

#[background(durable, retry(max = 1), name = "versions::change")]
async fn change(order: Order) -> u32 {
    if let Some(note) = order.note {
        assert_eq!(note, "new");
    }
    body("change", order.number).await
}

#[background(
    durable(was = "versions::first_name"),
    retry(max = 1),
    name = "versions::second_name"
)]
async fn rename(number: u32) -> u32 {
    body("rename", number).await
}

#[background(durable, retry(max = 1), name = "versions::add")]
async fn add(number: u32) -> u32 {
    body("add", number).await
}

#[bgtask::main]
async fn main(shutdown: ShutdownToken) {
    program::run(shutdown, |number| {
        let note = Some("new".to_owned());
        vec![
            keep(number),
            change(Order { number, note }),
            rename(number),
            add(number),
        ]
    })
    .await;
}
