//! A parameter that the body never names lives as long as the task.
use bgtask::{ShutdownToken, background};
use std::sync::Arc;

struct Service;

impl Service {
    #[background]
    async fn method(self: Arc<Self>, token: ShutdownToken, _kept: Arc<()>) {
        token.cancelled().await;
    }
}

#[background]
async fn function(token: ShutdownToken, _kept: Arc<()>) {
    token.cancelled().await;
}

#[background]
async fn with_cfg(token: ShutdownToken, #[cfg(any())] gone: Absent, _kept: Arc<()>) {
    token.cancelled().await;
}

#[test]
fn lives() {
    crate::run(async {
        let (kept, service) = (Arc::new(()), Arc::new(Service));
        let handles = [
            service.clone().method(kept.clone()),
            function(kept.clone()),
            with_cfg(kept.clone()),
        ];
        tokio::task::yield_now().await;
        assert_eq!(
            (Arc::strong_count(&kept), Arc::strong_count(&service)),
            (4, 2)
        );
        for handle in handles {
            handle.cancel();
            handle.await.unwrap();
        }
        assert_eq!(
            (Arc::strong_count(&kept), Arc::strong_count(&service)),
            (1, 1)
        );
    });
}
