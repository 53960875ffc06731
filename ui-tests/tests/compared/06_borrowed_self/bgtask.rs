//! Better: it says which receiver to write.
struct Service;

impl Service {
    #[bgtask::background]
    async fn task(&self) {}
}

fn main() {
    let service = Service;
    service.task();
}
