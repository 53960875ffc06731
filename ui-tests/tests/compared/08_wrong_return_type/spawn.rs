//! A wrong return type
async fn task() -> u32 {
    "text"
}

fn main() {
    tokio::spawn(task());
}
