//! The same, at the function.
use std::sync::{Arc, Mutex};

#[bgtask::background]
async fn task(shared: Arc<Mutex<u32>>) {
    let mut guard = shared.lock().unwrap();
    std::future::ready(()).await;
    *guard += 1;
}

fn main() {
    task(Arc::new(Mutex::new(1)));
}
