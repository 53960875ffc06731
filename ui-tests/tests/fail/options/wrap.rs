use bgtask::{Attempt, background};

async fn with_tenant(attempt: Attempt) {
    attempt.await;
}

async fn of_nothing() {}

async fn returns(attempt: Attempt) -> u8 {
    attempt.await;
    1
}

fn is_plain(_: Attempt) {}

#[background(wrap = "with_tenant")]
async fn a_string() {}

#[background(wrap)]
async fn no_value() {}

#[background(wrap = of_nothing)]
async fn no_attempt() {}

#[background(wrap = returns)]
async fn another_output() {}

#[background(wrap = is_plain)]
async fn not_async() {}

#[background(wrap = with_tenant, wrap = with_tenant)]
async fn twice() {}

fn main() {
    bgtask::spawn!("sync", wrap = with_tenant, async {});
}
