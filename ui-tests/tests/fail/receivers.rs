struct Service;

impl Service {
    #[bgtask::background]
    async fn by_reference(&self) {}

    #[bgtask::background]
    async fn by_mutable_reference(&mut self, number: u32) {}

    #[bgtask::background]
    async fn typed(self: &Self) {}
}

fn main() {
    let mut service = Service;
    service.by_reference();
    service.by_mutable_reference(1);
    service.typed();
}
