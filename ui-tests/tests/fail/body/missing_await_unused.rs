#![deny(unused_must_use)]

async fn flush() {}

#[bgtask::background]
async fn task() {
    flush();
}

fn main() {
    task();
}
