use bgtask::background;

#[background(durable, coalesce)]
async fn coalesced() {}

#[background(rate(limit = "100/s", overflow = "wait"), durable)]
async fn limited() {}

#[background(durable, concurrency(max = 8, queue = 100, overflow = "refuse"))]
async fn at_once() {}

#[background(durable, concurrency(max = 8, overflow = "wait"))]
async fn without_a_queue() {}

#[background(durable, essential)]
async fn essential() {}

#[background(durable, on_start, restart)]
async fn at_the_start() {}

#[background(durable, retry(max = 3, last_attempt = false))]
async fn with_a_last_attempt() -> Result<(), String> {
    Ok(())
}

#[background(durable, retry(base = "2h"))]
async fn with_a_long_pause() -> Result<(), String> {
    Ok(())
}

fn main() {}
