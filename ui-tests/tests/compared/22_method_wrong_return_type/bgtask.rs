//! The same.
use std::sync::Arc;

struct Service;

impl Service {
    #[bgtask::background]
    async fn task(self: Arc<Self>) -> u32 {
        "text"
    }
}

fn main() {
    Arc::new(Service).task();
}
