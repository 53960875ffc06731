struct Service;

impl Service {
    #[bgtask::background]
    async fn task(self: &std::sync::Arc<Self>, number: u32) {}
}

fn main() {
    let service = std::sync::Arc::new(Service);
    service.task(1);
}
