//! Constants that only the start of a program can check: a cron expression, and two times of `main` that do not fit each other.

use std::time::Duration;

const GRACE: Duration = Duration::from_secs(5);
const EXPRESSION: &str = "0 25 * * *";

#[bgtask::background(cron = EXPRESSION)]
async fn nightly() {}

#[bgtask::main(grace = GRACE, pre_stop = GRACE)]
async fn leaves_no_time() {
    std::future::pending().await
}

#[bgtask::main(grace = GRACE)]
async fn has_a_wrong_expression() {
    std::future::pending().await
}

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("pre-stop") => leaves_no_time(),
        _ => has_a_wrong_expression(),
    }
}
