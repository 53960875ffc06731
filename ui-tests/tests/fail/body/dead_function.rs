#![deny(dead_code)]

#[bgtask::background]
async fn nobody_calls_this() {}

#[bgtask::background]
fn nor_this() {}

struct Service;

impl Service {
    #[bgtask::background]
    async fn nor_this_method(self: std::sync::Arc<Self>) {}
}

fn main() {
    let _ = Service;
}
