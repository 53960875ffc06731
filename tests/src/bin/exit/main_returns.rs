//! A `main` that ends while work runs: `ok`, `code`, `err` or `panic`.
#![allow(clippy::print_stdout, reason = "the tests read it")]

use bgtask::{ShutdownToken, background};
use std::process::ExitCode;

#[background]
async fn drains(token: ShutdownToken) {
    token.cancelled().await;
    println!(
        "drained because {}",
        token
            .shutdown_reason()
            .map(|reason| reason.to_string())
            .unwrap_or_default()
    );
}

#[bgtask::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, String> {
    drains();
    match std::env::args().nth(1).as_deref() {
        Some("code") => Ok(ExitCode::from(7)),
        Some("err") => Err("main's own error".to_owned()),
        Some("panic") => panic!("main's own panic"),
        _ => Ok(ExitCode::SUCCESS),
    }
}
