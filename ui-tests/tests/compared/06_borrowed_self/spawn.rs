//! A method that borrows `self`
struct Service;

impl Service {
    async fn task(&self) {}
}

fn main() {
    let service = Service;
    tokio::spawn(service.task());
}
