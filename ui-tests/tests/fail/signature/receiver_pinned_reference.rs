struct Service;

impl Service {
    #[bgtask::background]
    async fn task(self: std::pin::Pin<&mut Self>, number: u32) {}
}

fn main() {
    let mut service = std::pin::pin!(Service);
    service.as_mut().task(1);
}
