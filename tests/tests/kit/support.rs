//! The background functions that several tests of the kit call.

use bgtask::{ShutdownToken, background};

#[background]
pub(crate) async fn doubled(number: u32) -> u32 {
    number * 2
}

#[background]
pub(crate) fn doubled_slowly(number: u32) -> u32 {
    number * 2
}

#[background(log = "off")]
pub(crate) async fn breaks() {
    panic!("as declared");
}

#[background(log = "off")]
pub(crate) async fn fails() -> Result<(), String> {
    Err("as declared".to_owned())
}

#[background(log = "off")]
pub(crate) async fn quiet() {}

#[background]
pub(crate) async fn until_cancelled(token: ShutdownToken) -> bool {
    token.cancelled().await;
    true
}

#[background(timeout = "1h")]
pub(crate) async fn hangs() {
    std::future::pending().await
}

#[background(coalesce(policy = "replace"))]
pub(crate) async fn newest_only(number: u32) {
    if number == 1 {
        std::future::pending().await
    }
}

#[background(concurrency(max = 1, queue = 1))]
pub(crate) async fn takes_turns(token: ShutdownToken) {
    token.cancelled().await;
}
