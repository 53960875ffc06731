//! Functions with arguments under `#[bgtask::main]`, which a plain `main` calls. The argument selects the case.
#![allow(clippy::print_stdout, reason = "the tests read it")]

use bgtask::{ShutdownToken, background};
use std::future::pending;
use std::process::ExitCode;

#[background]
async fn drains(what: String, token: ShutdownToken) {
    token.cancelled().await;
    println!("drained {what}");
}

#[background(essential)]
async fn ends_early() {}

/// Serves until the shutdown. Returns an error if `fails` is set.
#[bgtask::main(flavor = "current_thread")]
async fn serve(what: &str, fails: bool, shutdown: ShutdownToken) -> Result<usize, String> {
    drains(what.to_owned());
    println!("serving {what}");
    shutdown.cancelled().await;
    if fails {
        Err(format!("{what} failed"))
    } else {
        Ok(what.len())
    }
}

#[bgtask::main(flavor = "current_thread")]
async fn return_at_once(what: &str) -> &str {
    drains(what.to_owned());
    what
}

/// Takes no token, so a shutdown drops it.
#[bgtask::main(flavor = "current_thread")]
async fn wait_forever(what: &str) -> u8 {
    drains(what.to_owned());
    println!("serving {what}");
    pending().await
}

#[bgtask::main(flavor = "current_thread", grace = "100ms")]
async fn ignore_the_token(_shutdown: ShutdownToken, what: &str) -> u8 {
    println!("serving {what}");
    pending().await
}

/// An essential task of it ends early, and then it ends by itself.
#[bgtask::main(flavor = "current_thread")]
async fn lose_an_essential_task(fails: bool, shutdown: ShutdownToken) -> Result<(), String> {
    ends_early();
    shutdown.cancelled().await;
    if fails {
        Err("its own error".to_owned())
    } else {
        Ok(())
    }
}

#[bgtask::main(flavor = "current_thread")]
async fn panic_after(what: &str) {
    drains(what.to_owned());
    panic!("its own panic");
}

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("serves") => println!("returned {:?}", serve("alpha", false)),
        Some("fails") => println!("returned {:?}", serve("alpha", true)),
        Some("twice") => {
            println!("returned {:?}", serve("alpha", false));
            println!("returned {:?}", serve("beta", false));
        }
        Some("at-once") => {
            println!("returned {}", return_at_once("alpha"));
            println!("returned {}", return_at_once("beta"));
        }
        Some("goes-on") => {
            println!("returned {}", return_at_once("alpha"));
            loop {
                std::thread::park();
            }
        }
        Some("no-token") => println!("returned {:?}", wait_forever("alpha")),
        Some("late") => println!("returned {:?}", ignore_the_token("alpha")),
        Some("essential") => println!("returned {:?}", lose_an_essential_task(false)),
        Some("essential-fails") => println!("returned {:?}", lose_an_essential_task(true)),
        Some("panics") => panic_after("alpha"),
        other => panic!("an unknown case: {other:?}"),
    }
    ExitCode::from(3)
}
