//! A `main` without a token, which cannot know of a shutdown: it is dropped when one is asked for.
#![allow(clippy::print_stdout, reason = "the tests read it")]

use bgtask::{ShutdownToken, background};

struct SaysWhenDropped;

impl Drop for SaysWhenDropped {
    fn drop(&mut self) {
        println!("main dropped");
    }
}

#[background]
async fn drains(token: ShutdownToken) {
    token.cancelled().await;
    println!("drained");
}

#[bgtask::main]
async fn main() {
    let _says = SaysWhenDropped;
    drains();
    println!("ready");
    std::future::pending::<()>().await;
}
