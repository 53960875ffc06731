struct Service;

impl Service {
    #[bgtask::background]
    async fn task(&mut self, number: u32) {}
}

fn main() {
    let mut service = Service;
    service.task(1);
}
