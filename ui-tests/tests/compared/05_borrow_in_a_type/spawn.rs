//! A borrow within the type of a parameter
use std::borrow::Cow;

async fn task(key: Cow<'_, str>) {
    drop(key);
}

fn main() {
    tokio::spawn(task(Cow::from(&String::from("key"))));
}
