use std::sync::Arc;

struct Service;

impl Service {
    #[bgtask::background]
    async fn task(self: Arc<Self>) {}
}

fn main() {
    Service.task();
    Service::task(&Service);
}
