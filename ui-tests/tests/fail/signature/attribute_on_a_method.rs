use std::sync::Arc;

struct Service;

impl Service {
    #[bgtask::background]
    #[tracing::instrument]
    async fn method(self: Arc<Self>) {}
}

fn main() {
    Arc::new(Service).method();
}
