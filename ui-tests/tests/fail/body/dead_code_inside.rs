#![deny(dead_code)]

#[bgtask::background]
async fn task() {
    fn nobody_calls_this() {}
}

fn main() {
    task();
}
