//! A borrowed argument
async fn task(key: &str) {
    drop(key);
}

fn main() {
    tokio::spawn(task(&String::from("key")));
}
