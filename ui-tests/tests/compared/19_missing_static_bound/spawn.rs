//! A type parameter that may borrow
async fn task<T: Send>(value: T) {
    drop(value);
}

fn start<T: Send>(value: T) {
    tokio::spawn(task(value));
}

fn main() {
    start(1);
}
