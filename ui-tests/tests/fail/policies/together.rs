use bgtask::background;

#[background(every = "5m", on_start)]
async fn every_and_on_start() {}

#[background(on_start, every = "5m")]
async fn on_start_and_every() {}

#[background(every = "5m", essential)]
async fn every_and_essential() {}

#[background(every = "5m", overlap, missed = "all")]
async fn overlap_and_missed() {}

#[background(on_start, immediately)]
async fn on_start_and_immediately() {}

#[background(timezone = "Europe/Berlin", every = "1h")]
async fn timezone_without_cron() {}

#[background(missed = "once", jitter = "1s")]
async fn without_a_schedule() {}

#[background(restart)]
async fn restart_without_on_start() {}

#[background(coalesce, concurrency = 2)]
async fn coalesce_and_concurrency() {}

fn main() {}
