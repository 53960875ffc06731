//! A method with a wrong return type
use std::sync::Arc;

struct Service;

impl Service {
    async fn task(self: Arc<Self>) -> u32 {
        "text"
    }
}

fn main() {
    tokio::spawn(Arc::new(Service).task());
}
