//! Tests as a user writes them, and all of them fail: `kit.rs` runs each in a process of its own and reads what it says.
//! `docs/testing.md` shows the same.

use bgtask::{ShutdownToken, background, testing};
use std::time::Duration;

#[background(log = "off")]
async fn save(page: u32) {
    tokio::task::yield_now().await;
    panic!("page {page}: the disk is full");
}

#[background(log = "off")]
async fn send(to: String) -> Result<(), String> {
    Err(format!("no route to {to}"))
}

#[background(log = "off")]
pub(crate) async fn poll_for_ever(_token: ShutdownToken) {
    std::future::pending::<()>().await;
}

#[bgtask::test]
#[ignore = "fails on purpose"]
async fn a_background_panic() {
    save(7);
}

#[bgtask::test]
#[ignore = "fails on purpose"]
async fn an_error_that_nobody_looks_at() {
    send("example.org".to_owned());
}

#[bgtask::test(drain = "50ms")]
#[ignore = "fails on purpose"]
async fn work_that_does_not_end() {
    poll_for_ever();
}

#[bgtask::test]
#[ignore = "fails on purpose"]
async fn a_declared_panic_that_does_not_happen() {
    testing::expect_panic("save");
}

#[bgtask::test]
#[ignore = "fails on purpose"]
async fn a_count_that_is_wrong() {
    testing::expect_error("send");
    send("example.org".to_owned());
    testing::assert_called("send", 2);
}

#[bgtask::test]
#[ignore = "fails on purpose"]
async fn a_name_that_no_function_has() {
    testing::assert_not_called("sned");
}

#[bgtask::test]
#[ignore = "fails on purpose"]
async fn its_own_panic_and_a_background_one() {
    save(7);
    testing::started("save").await;
    assert_eq!(1 + 1, 3, "the test's own panic");
}

#[bgtask::test]
#[ignore = "fails on purpose"]
async fn its_own_error_and_a_background_panic() -> Result<(), String> {
    save(7);
    Err("the test's own error".to_owned())
}

#[bgtask::test]
#[ignore = "fails on purpose"]
async fn idle_while_calls_are_held_back() {
    let _paused = testing::pause_dispatch();
    send("example.org".to_owned());
    testing::expect_error("send");
    testing::idle().await;
}

#[tokio::test]
#[ignore = "fails on purpose"]
async fn without_the_attribute() {
    let kit = testing::Kit::install().expect("the runtime's only manager");
    save(7);
    kit.finish().await;
}

#[tokio::test]
#[ignore = "fails on purpose"]
async fn a_kit_that_is_dropped() {
    let kit = testing::Kit::install().expect("the runtime's only manager");
    drop(send("example.org".to_owned()));
    testing::idle().await;
    drop(kit);
}

#[tokio::test]
#[ignore = "fails on purpose"]
async fn the_kit_without_a_kit() {
    let _manager = bgtask::Manager::install().expect("the runtime's only manager");
    tokio::time::sleep(Duration::ZERO).await;
    testing::assert_not_called("save");
}
