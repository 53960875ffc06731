#[bgtask::background]
async fn task() {}

async fn caller() {
    let handle = task();
    drop(handle);
    let _ = handle.await;
}

fn main() {
    drop(caller());
}
