use bgtask::{Attempt, background};

async fn with_tenant(attempt: Attempt) {
    attempt.await;
}

#[background(wrap = with_tenent)]
async fn misspelled() {}

#[background(wrap = with_tenant)]
async fn right() {}

fn main() {}
