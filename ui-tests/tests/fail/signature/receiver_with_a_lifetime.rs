struct Service;

impl Service {
    #[bgtask::background]
    async fn task(&'static self, number: u32) {}
}

fn main() {
    let service: &'static Service = &Service;
    service.task(1);
}
