//! A `main` without a token, which cannot notice a shutdown: a request drops it.
#![allow(clippy::print_stdout, reason = "the tests read it")]

use bgtask::{ShutdownToken, background};

struct SignalsItsDrop;

impl Drop for SignalsItsDrop {
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
    let _says = SignalsItsDrop;
    drains();
    println!("ready");
    std::future::pending::<()>().await;
}
