//! The same, with our error type instead of tokio's.
#[bgtask::background]
async fn task() -> u32 {
    1
}

async fn caller() {
    let number: u32 = task().await;
    drop(number);
}

fn main() {
    drop(caller());
}
