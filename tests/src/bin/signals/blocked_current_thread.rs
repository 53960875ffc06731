//! Tasks that never yield block every worker of the runtime for ever.
#![allow(clippy::print_stdout, reason = "the tests read it")]

use bgtask::background;
use std::time::Duration;

#[background]
async fn never_yields(say: bool) {
    if say {
        println!("ready");
    }
    loop {
        std::thread::park();
    }
}

#[bgtask::main(
    flavor = "current_thread",
    grace = "100ms",
    dump = "SIGUSR2",
    warn_after = "50ms"
)]
async fn main() {
    if std::env::args().nth(1).as_deref() == Some("long-grace") {
        bgtask::set_grace(Duration::from_secs(600));
    }
    never_yields(true);
    std::future::pending::<()>().await;
}
