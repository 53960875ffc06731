#[bgtask::background]
async fn task(self: std::sync::Arc<Self>) {}

fn main() {}
