//! A service with a token: says `ready`, serves until the token fires, and has work that drains, fails or hangs.
//! Arguments: which work to start, in order.
#![allow(clippy::print_stdout, reason = "the tests read it")]

use bgtask::{ShutdownToken, background};
use std::sync::mpsc;
use std::time::Duration;

#[background]
async fn drains(token: ShutdownToken) {
    token.cancelled().await;
    println!(
        "draining because of {}",
        token
            .shutdown_reason()
            .map(|reason| reason.to_string())
            .unwrap_or_default()
    );
    tokio::time::sleep(Duration::from_millis(20)).await;
    println!("drained");
}

#[background]
async fn fails() -> Result<(), &'static str> {
    Err("an error nobody holds")
}

#[background]
async fn panics() {
    panic!("a panic nobody sees");
}

#[background]
async fn hangs() {
    std::future::pending::<()>().await;
}

#[background]
fn hangs_blocking(gate: mpsc::Receiver<()>) {
    let _ = gate.recv();
}

#[bgtask::main(grace = "200ms", worker_threads = 2)]
async fn main(shutdown: ShutdownToken) -> Result<(), String> {
    let mut gates = Vec::new();
    let mut result = Ok(());
    for work in std::env::args().skip(1) {
        match work.as_str() {
            "drains" => drop(drains()),
            "fails" => drop(fails()),
            "panics" => drop(panics()),
            "hangs" => drop(hangs()),
            "hangs-blocking" => {
                let (open, gate) = mpsc::channel();
                gates.push(open);
                hangs_blocking(gate);
            }
            "from-a-plain-thread" => {
                std::thread::spawn(drains)
                    .join()
                    .map(drop)
                    .map_err(|_| "it panicked")?;
            }
            "requests-shutdown" => bgtask::request_shutdown("the program requests it"),
            "long-grace" => bgtask::set_grace(Duration::from_secs(600)),
            "returns-an-error" => result = Err("main's own error".to_owned()),
            other => return Err(format!("no such work: {other}")),
        }
    }
    println!("ready");
    shutdown.cancelled().await;
    println!(
        "stopping because of {}",
        shutdown
            .shutdown_reason()
            .map(|reason| reason.to_string())
            .unwrap_or_default()
    );
    // The gates stay shut while the process exits, so the blocked tasks stay blocked.
    std::mem::forget(gates);
    result
}
