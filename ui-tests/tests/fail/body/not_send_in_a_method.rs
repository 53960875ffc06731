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

fn main() {}
