//! A lock held across an await
use std::sync::{Arc, Mutex};

async fn task(shared: Arc<Mutex<u32>>) {
    let mut guard = shared.lock().unwrap();
    std::future::ready(()).await;
    *guard += 1;
}

fn main() {
    tokio::spawn(task(Arc::new(Mutex::new(1))));
}
