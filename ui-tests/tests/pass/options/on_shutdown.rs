//! Every value, and those that a plain function accepts.
use bgtask::{ShutdownToken, background};

#[background(on_shutdown = "drain")]
async fn drain(token: ShutdownToken) {
    token.cancelled().await;
}

#[background(on_shutdown = "cancel")]
async fn cancel() {
    std::future::pending::<()>().await;
}

#[background(on_shutdown = "finish")]
async fn finish() {}

#[background(on_shutdown = "drain")]
fn plain_drain(token: ShutdownToken) {
    token.wait();
}

#[background(on_shutdown = "finish")]
fn plain_finish() {}

#[test]
fn ends_with_the_shutdown() {
    crate::run(async {
        drain();
        cancel();
        finish();
        plain_drain();
        plain_finish();
    });
}
