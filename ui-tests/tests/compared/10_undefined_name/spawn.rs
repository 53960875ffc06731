//! A name that does not exist
async fn task(number: u32) {
    drop(numbr);
}

fn main() {
    tokio::spawn(task(1));
}
