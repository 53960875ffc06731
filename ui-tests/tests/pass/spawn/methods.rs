//! In methods, with `self` and `Self`.
use bgtask::{TaskHandle, spawn};
use std::sync::Arc;

#[derive(Clone)]
struct Service<T> {
    number: T,
}

impl<T: Copy + Send + Sync + 'static> Service<T> {
    const NAME: &str = "named by its type";

    fn new(number: T) -> Self {
        Self { number }
    }

    fn takes(self: &Arc<Self>) -> TaskHandle<T> {
        let this = self.clone();
        spawn!("takes", async move { this.number })
    }

    fn by_value(self) -> TaskHandle<Self> {
        spawn!("by value", move || Self::new(self.number))
    }

    fn by_arc(self: Arc<Self>) -> TaskHandle<T> {
        spawn!("by arc", retry(panics), move || async move { self.number })
    }

    fn names() -> &'static str {
        spawn!(Service::<u8>::NAME, async {}).name()
    }
}

#[test]
fn runs() {
    crate::run(async {
        let service = Arc::new(Service::new(1_u8));
        assert_eq!(service.takes().await, Ok(1));
        assert_eq!(service.clone().by_arc().await, Ok(1));
        assert_eq!(Service::clone(&service).by_value().await.unwrap().number, 1);
        assert_eq!(Service::<u16>::names(), "named by its type");
    });
}
