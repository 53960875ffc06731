//! Calls from a thread, from a blocking task, from a `Drop`.
use bgtask::{Manager, background};
use std::sync::atomic::{AtomicUsize, Ordering};

static CALLS: AtomicUsize = AtomicUsize::new(0);

#[background]
async fn counts() {
    CALLS.fetch_add(1, Ordering::Relaxed);
}

struct CountsWhenDropped;

impl Drop for CountsWhenDropped {
    fn drop(&mut self) {
        counts();
    }
}

#[test]
fn runs() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let manager = Manager::builder().install_on(runtime.handle()).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _entered = manager.enter();
            counts();
        });
    });
    runtime.block_on(async {
        tokio::task::spawn_blocking(counts)
            .await
            .unwrap()
            .await
            .unwrap();
        drop(CountsWhenDropped);
        manager.shutdown("the test ends").await
    });
    assert_eq!(CALLS.load(Ordering::Relaxed), 3);
}
