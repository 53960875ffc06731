use bgtask::background;

struct Order(u32);

impl Order {
    #[background(retry(max = 3))]
    async fn send(self, urgent: bool) -> Result<u32, String> {
        Ok(self.0 + u32::from(urgent))
    }
}

struct Service;

impl Service {
    #[background(retry(max = 3))]
    fn send(self: std::sync::Arc<Self>, order: Order) -> Result<(), String> {
        let _ = self;
        drop(order);
        Ok(())
    }
}

fn main() {
    Order(1).send(true);
    std::sync::Arc::new(Service).send(Order(1));
}
