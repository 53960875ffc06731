//! Tests as a user writes them, which all fail: `verdict.rs` runs each in its own process and reads the output. `docs/testing.md`
//! shows the output, so the lines of this file must not move.

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
async fn an_unread_error() {
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

#[background(log = "off", timeout = "20ms")]
async fn fetch() {
    std::future::pending::<()>().await;
}

#[background]
fn blocks_a_thread(until: std::sync::mpsc::Receiver<()>) {
    let _ = until.recv();
}

#[background(concurrency = 1)]
async fn one_at_a_time(_token: ShutdownToken) {
    std::future::pending::<()>().await;
}

fn no_background_function(page: u32) -> bgtask::TaskHandle<()> {
    save(page)
}

#[bgtask::test]
#[ignore = "fails on purpose"]
async fn an_unread_timeout() {
    drop(fetch());
    testing::idle().await;
}

#[bgtask::test]
#[ignore = "fails on purpose"]
async fn a_declared_timeout_that_does_not_happen() {
    testing::expect_timeout(fetch);
}

#[bgtask::test(wait = "50ms", drain = "10ms")]
#[ignore = "fails on purpose"]
async fn idle_that_waits_for_ever() {
    poll_for_ever();
    testing::idle().await;
}

#[bgtask::test(wait = "50ms", drain = "10ms", start_paused = true)]
#[ignore = "fails on purpose"]
async fn idle_that_waits_for_ever_under_paused_time() {
    poll_for_ever();
    testing::idle().await;
}

#[bgtask::test(wait = "50ms", drain = "10ms")]
#[ignore = "fails on purpose"]
async fn started_that_is_never_called() {
    testing::started(fetch).await;
}

#[bgtask::test(wait = "50ms", drain = "10ms")]
#[ignore = "fails on purpose"]
async fn started_that_waits_for_its_turn() {
    one_at_a_time();
    testing::started(one_at_a_time).await;
    let paused = testing::pause_dispatch();
    drop(send("example.org".to_owned()));
    let waits = testing::started(send);
    waits.await;
    drop(paused);
}

#[bgtask::test(wait = "50ms", drain = "10ms")]
#[ignore = "fails on purpose"]
async fn the_tests_thread_is_blocked() {
    let (_until, blocked) = std::sync::mpsc::channel();
    drop(blocks_a_thread(blocked));
    // Blocks the only thread until the message about that appears on stderr, which is not captured.
    let path = std::env::var_os("STDERR").expect("the file of stderr");
    tokio::spawn(async move {
        let output = || std::fs::read_to_string(&path).expect("the output to stderr");
        while !output().contains("cannot fail with this message") {
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    testing::idle().await;
}

#[bgtask::test]
#[ignore = "fails on purpose"]
async fn a_function_that_is_none() {
    testing::assert_not_called(no_background_function);
}

#[bgtask::test]
#[ignore = "fails on purpose"]
async fn a_function_without_a_schedule() {
    testing::start_schedule(fetch);
}

#[bgtask::test(
    wait = "50ms",
    drain = "10ms",
    flavor = "multi_thread",
    worker_threads = 2
)]
#[ignore = "fails on purpose"]
async fn an_inline_call_that_waits_for_its_caller() {
    let _inline = testing::inline();
    poll_for_ever();
}

#[bgtask::test]
#[ignore = "fails on purpose"]
async fn a_count_with_the_outcome_of_each_call() {
    let paused = testing::pause_dispatch();
    let aborted = fetch();
    aborted.abort();
    drop(aborted);
    drop(paused);
    fetch().await.expect_err("timed out");
    testing::assert_called(fetch, 3);
}

#[background(log = "off")]
async fn read(from: String) -> Result<(), String> {
    Err(format!("{from} is silent"))
}

#[bgtask::test]
#[ignore = "fails on purpose"]
async fn a_declaration_of_another_function() {
    testing::expect_error(send);
    drop(read("example.org".to_owned()));
    testing::idle().await;
    drop(send("example.org".to_owned()));
}

#[bgtask::test(drain = "10ms")]
#[ignore = "fails on purpose"]
async fn a_call_too_many() {
    poll_for_ever();
    poll_for_ever();
    testing::started(poll_for_ever).await;
    testing::assert_called(poll_for_ever, 1);
}

#[bgtask::test]
#[ignore = "fails on purpose"]
async fn a_call_that_was_not_to_be() {
    let _seen = send("example.org".to_owned()).await;
    testing::assert_not_called(send);
}

#[tokio::test]
#[ignore = "fails on purpose"]
async fn a_kit_that_is_dropped_with_nothing_to_tell() {
    drop(testing::Kit::install().expect("the runtime's only manager"));
    panic!("the test's own panic");
}

#[tokio::test]
#[ignore = "fails on purpose"]
async fn a_kit_that_a_panic_drops() {
    let _kit = testing::Kit::install().expect("the runtime's only manager");
    panic!("the test's own panic");
}

#[tokio::test]
#[ignore = "fails on purpose"]
async fn a_kit_that_a_panic_drops_with_something_to_tell() {
    let _kit = testing::Kit::install().expect("the runtime's only manager");
    drop(send("example.org".to_owned()));
    testing::idle().await;
    panic!("the test's own panic");
}

#[bgtask::test]
#[ignore = "fails on purpose"]
async fn an_error_in_a_handle_that_is_forgotten() {
    std::mem::forget(send("example.org".to_owned()));
}

#[bgtask::test]
#[ignore = "fails on purpose"]
async fn an_error_in_a_handle_that_a_server_holds() {
    tokio::spawn(async {
        let held = send("example.org".to_owned());
        std::future::pending::<()>().await;
        drop(held);
    });
    testing::started(send).await;
}

#[bgtask::test]
#[ignore = "fails on purpose"]
async fn a_timeout_in_a_handle_that_is_forgotten() {
    std::mem::forget(fetch());
    testing::idle().await;
}

#[bgtask::test(wait = "50ms")]
#[ignore = "fails on purpose"]
async fn an_error_in_a_handle_that_is_awaited_no_more() {
    tokio::spawn(async {
        let mut held = fails_at_the_end();
        // Polled once, and then only held.
        let once = std::future::poll_fn(|cx| {
            std::task::Poll::Ready(std::pin::Pin::new(&mut held).poll(cx).is_pending())
        });
        assert!(once.await);
        std::future::pending::<()>().await;
        drop(held);
    });
    testing::started(fails_at_the_end).await;
}

#[background(log = "off")]
pub(crate) async fn fails_at_the_end(token: ShutdownToken) -> Result<(), String> {
    token.cancelled().await;
    Err("not flushed".to_owned())
}

#[bgtask::test]
#[ignore = "fails on purpose"]
async fn an_error_with_a_text_of_several_lines() {
    send("\r\n  `forged`\u{1b}[2J".to_owned());
}

#[bgtask::test]
#[ignore = "fails on purpose"]
async fn a_kept_value_that_panics_while_it_is_dropped() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("while it was dropped");
        }
    }
    testing::until_drained(Bomb);
    testing::until_drained(());
}

/// A state that no test provides.
#[derive(Clone)]
pub(crate) struct Pool;

pub(crate) fn needs_the_pool() -> bgtask::TaskHandle<()> {
    bgtask::spawn!(
        "needs the pool",
        log = "off",
        |_: bgtask::State<Pool>| async {}
    )
}

#[bgtask::test]
#[ignore = "fails on purpose"]
async fn a_missing_state() {
    needs_the_pool();
}

#[tokio::test]
#[ignore = "fails on purpose"]
async fn a_missing_state_under_a_kit() {
    let kit = testing::Kit::install().unwrap();
    let held = needs_the_pool();
    assert!(held.is_finished());
    kit.finish().await;
    drop(held);
}

#[tokio::test]
#[ignore = "fails on purpose"]
async fn a_question_after_the_kit_has_finished() {
    let kit = testing::Kit::install().unwrap();
    kit.finish().await;
    testing::assert_called("save", 1);
}
