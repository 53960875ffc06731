//! Other attribute macros around it: one that rewrites the function, one that rewrites its `impl`, and one that
//! is both below and above it.
use bgtask::{TaskHandle, background};
use std::sync::Arc;

struct Service;

#[async_trait::async_trait]
trait Work {
    async fn ordinary(&self) -> u32;
    fn background(self: Arc<Self>) -> TaskHandle<u32>;
}

#[async_trait::async_trait]
impl Work for Service {
    async fn ordinary(&self) -> u32 {
        1
    }

    fn background(self: Arc<Self>) -> TaskHandle<u32> {
        #[background]
        async fn inside(service: Arc<Service>) -> u32 {
            service.ordinary().await + 1
        }
        inside(self)
    }
}

#[tracing::instrument]
#[background]
#[tracing::instrument]
async fn between(number: u32) -> u32 {
    number
}

#[test]
fn runs() {
    crate::run(async {
        assert_eq!(Arc::new(Service).background().await, Ok(2));
        assert_eq!(between(3).await, Ok(3));
    });
}
