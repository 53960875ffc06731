struct Service;

impl Service {
    #[bgtask::background]
    async fn task(&self, number: u32) {}
}

fn main() {
    let service = Service;
    service.task(1);
}
