use bgtask::background;
use std::sync::Arc;

#[background(durable)]
async fn generic<T: Send + 'static>(value: T) {
    drop(value);
}

#[background(durable)]
async fn of_any(value: impl Send + 'static) {
    drop(value);
}

struct Service;

impl Service {
    #[background(durable)]
    async fn method(self: Arc<Self>) {}

    #[background(durable)]
    async fn names_self() -> Option<Self> {
        None
    }
}

#[background(durable)]
async fn takes_what_it_borrows(name: &'static str) {
    println!("{name}");
}

fn main() {}
