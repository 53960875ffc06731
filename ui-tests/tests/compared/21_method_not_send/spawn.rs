//! A method with a value that is not `Send` across an await
use std::rc::Rc;
use std::sync::Arc;

struct Service;

impl Service {
    async fn task(self: Arc<Self>) {
        let counted = Rc::new(1);
        std::future::ready(()).await;
        drop(counted);
    }
}

fn main() {
    tokio::spawn(Arc::new(Service).task());
}
