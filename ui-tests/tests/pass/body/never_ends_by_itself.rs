//! A loop that ends when the token fires.
use bgtask::{ShutdownToken, background};
use std::time::Duration;

#[background]
async fn asynchronous(token: ShutdownToken) {
    loop {
        if token
            .run_until_cancelled(std::future::pending::<()>())
            .await
            .is_none()
        {
            return;
        }
    }
}

#[background]
fn plain(token: ShutdownToken) -> u32 {
    let mut rounds = 0;
    while token.sleep(Duration::from_secs(600)) {
        rounds += 1;
    }
    rounds
}

#[test]
fn ends() {
    crate::run(async {
        asynchronous();
        plain();
    });
}
