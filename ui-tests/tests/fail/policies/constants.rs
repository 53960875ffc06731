use bgtask::{Rate, background, spawn};
use std::time::Duration;

const ZERO: Duration = Duration::ZERO;
const NONE: usize = 0;
const TEXT: &str = "30s";
const SECOND: Duration = Duration::from_secs(1);
const ONCE: u32 = 1;

#[background(timeout = ZERO)]
async fn no_time() {}

#[background(concurrency(max = NONE))]
async fn no_permit() {}

#[background(timeout = TEXT)]
async fn a_text() {}

#[background(rate = Rate::per_second(0))]
async fn no_rate() {}

#[background(retry(max = ONCE))]
async fn never_again() -> Result<(), String> {
    Ok(())
}

#[background(retry(base = Duration::from_secs(60), cap = SECOND))]
async fn the_cap_is_shorter() -> Result<(), String> {
    Ok(())
}

#[background(concurrency = limit)]
async fn a_parameter(limit: usize) {
    let _ = limit;
}

#[background(timeout = soon)]
async fn a_string_without_quotes() {}

#[background(every = SECOND)]
async fn takes_an_argument(of: u32) {
    let _ = of;
}

#[bgtask::main(grace = TEXT)]
async fn main() {
    spawn!("sync", timeout = ZERO, async {});
    let at_run_time = SECOND;
    spawn!("sync", timeout = Duration::from_secs(at_run_time.as_secs()), async {});
}
