//! Better: it names the parameter and suggests a type, where the compiler names a lifetime in one of the calls.
#[bgtask::background]
async fn task(key: &str) {
    drop(key);
}

fn main() {
    task(&String::from("key"));
}
