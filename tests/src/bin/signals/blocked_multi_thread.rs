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
    worker_threads = 2,
    grace = "100ms",
    dump = "SIGUSR2",
    warn_after = "50ms"
)]
async fn main() {
    if std::env::args().nth(1).as_deref() == Some("long-grace") {
        bgtask::set_grace(Duration::from_secs(600));
    }
    never_yields(false);
    // One after the other: a worker that takes both calls at once would keep the second one from the other worker.
    while bgtask::tasks()[0].state != bgtask::TaskState::Running {
        tokio::task::yield_now().await;
    }
    never_yields(true);
    // Each new task wakes a free worker: it may have gone to sleep just when the second call was made, and the other one, which
    // would have woken it, is blocked.
    loop {
        tokio::spawn(async {});
        std::thread::sleep(Duration::from_millis(1));
        tokio::task::yield_now().await;
    }
}
