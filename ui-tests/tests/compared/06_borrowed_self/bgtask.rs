//! Better: it suggests a receiver.
struct Service;

impl Service {
    #[bgtask::background]
    async fn task(&self) {}
}

fn main() {
    let service = Service;
    service.task();
}
