//! The same, except that it calls the method an "async block": a method cannot be kept as a separate function.
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
