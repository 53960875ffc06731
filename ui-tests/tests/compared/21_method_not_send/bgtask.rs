//! The same, but that it says "async block" for the method: a method cannot be kept as a function of its own.
use std::rc::Rc;
use std::sync::Arc;

struct Service;

impl Service {
    #[bgtask::background]
    async fn task(self: Arc<Self>) {
        let counted = Rc::new(1);
        std::future::ready(()).await;
        drop(counted);
    }
}

fn main() {
    Arc::new(Service).task();
}
