#[bgtask::background]
async fn task() {}

async fn caller() {
    let handle = task();
    let _ = handle.await;
    let _ = handle.await;
}

fn main() {
    drop(caller());
}
