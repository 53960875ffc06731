//! Too many arguments
async fn task(key: String, number: u32) {
    drop((key, number));
}

fn main() {
    tokio::spawn(task(String::new(), 1, 2));
}
