//! Work that never ends by itself, whose output type is inferred from nothing in it.
use bgtask::spawn;

fn panics() -> bgtask::TaskHandle<()> {
    spawn!("blocks and panics", || panic!("at once"))
}

#[test]
fn runs() {
    crate::run(async {
        let handles = [
            spawn!("loops", async {
                loop {
                    tokio::task::yield_now().await;
                }
            }),
            spawn!("waits", async { std::future::pending().await }),
            spawn!("panics", async { panic!("at once") }),
            spawn!("loops with the token", |token| async move {
                loop {
                    token.cancelled().await;
                    break;
                }
            }),
            spawn!("is asked to end", move |_| async move {
                loop {
                    tokio::task::yield_now().await;
                }
            }),
        ];
        let blocks = spawn!("blocks", |token| {
            while token.sleep(std::time::Duration::from_millis(1)) {}
        });
        for handle in &handles {
            handle.abort();
        }
        blocks.cancel();
        drop((handles, blocks, panics as fn() -> _));
    });
}
