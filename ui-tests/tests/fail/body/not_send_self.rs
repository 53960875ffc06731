use std::cell::Cell;
use std::sync::Arc;

struct Service {
    count: Cell<u32>,
}

impl Service {
    #[bgtask::background]
    async fn task(self: Arc<Self>) {
        self.count.set(1);
    }
}

fn main() {}
