//! A type parameter that need not be `Send`
async fn task<T: 'static>(value: T) {
    drop(value);
}

fn start<T: 'static>(value: T) {
    tokio::spawn(task(value));
}

fn main() {
    start(1);
}
