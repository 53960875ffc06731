//! Better, for the same reason.
use std::borrow::Cow;

#[bgtask::background]
async fn task(key: Cow<'_, str>) {
    drop(key);
}

fn main() {
    task(Cow::from(&String::from("key")));
}
