//! The handle awaited for the output itself
async fn task() -> u32 {
    1
}

async fn caller() {
    let number: u32 = tokio::spawn(task()).await;
    drop(number);
}

fn main() {
    drop(caller());
}
