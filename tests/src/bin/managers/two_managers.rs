//! Managers without `#[bgtask::main]`: which of them a call belongs to while there is one, and when there are two.
#![allow(clippy::print_stdout, reason = "the tests read it")]

use bgtask::{Manager, background};
use std::panic::{AssertUnwindSafe, catch_unwind};
use tokio::runtime::Runtime;

#[background]
async fn works() {}

fn message(call: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(call)).expect_err("several managers");
    let message = payload.downcast_ref::<String>();
    message.cloned().unwrap_or_default()
}

fn main() {
    let [one, two] = [(); 2].map(|()| Runtime::new().expect("a runtime"));
    let first = Manager::builder().install_on(one.handle());
    let first = first.expect("the first");
    works();
    println!("a plain thread: {}", first.stats().accepted);
    let accepted = two.block_on(async {
        drop(works());
        bgtask::stats().accepted
    });
    println!(
        "another runtime: {accepted}, and the first one's {}",
        first.stats().accepted
    );
    let second = Manager::builder().install_on(two.handle());
    let second = second.expect("the second");
    println!("the second takes over: {}", second.stats().accepted);
    let several = message(|| drop(works()));
    println!("a plain thread: {several}");
    one.block_on(first.shutdown("the end"));
    two.block_on(second.shutdown("the end"));
}
