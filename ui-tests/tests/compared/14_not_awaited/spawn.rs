//! The handle taken for the output
async fn task() -> u32 {
    1
}

async fn caller() {
    let number: u32 = tokio::spawn(task());
    drop(number);
}

fn main() {
    drop(caller());
}
