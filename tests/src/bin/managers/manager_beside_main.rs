//! A runtime with its own manager beside that of `#[bgtask::main]`: each keeps its own counts.
#![allow(clippy::print_stdout, reason = "the tests read it")]

use bgtask::{Manager, background};
use std::thread;
use tokio::runtime::Runtime;

#[background]
async fn works() {}

/// Makes calls on a thread that has cached the manager of the program while it was the only one.
fn calls_for_both() -> u64 {
    works();
    let runtime = Runtime::new().expect("a runtime");
    let manager = Manager::builder().install_on(runtime.handle());
    let manager = manager.expect("its only manager");
    runtime.block_on(async {
        for _ in 0..10 {
            works().await.expect("it ends");
        }
    });
    runtime.block_on(manager.shutdown("enough")).totals.accepted
}

#[bgtask::main]
async fn main() {
    for _ in 0..100 {
        works().await.expect("it ends");
    }
    println!("main's: {}", bgtask::stats().accepted);
    let others = thread::spawn(calls_for_both).join();
    println!("the other's: {}", others.expect("no panic"));
    works().await.expect("it ends");
    println!("main's: {}", bgtask::stats().accepted);
}
