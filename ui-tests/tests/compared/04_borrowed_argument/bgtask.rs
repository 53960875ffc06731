//! Better: it names the parameter and says what to write, where the compiler speaks of a lifetime in one of the calls.
#[bgtask::background]
async fn task(key: &str) {
    drop(key);
}

fn main() {
    task(&String::from("key"));
}
