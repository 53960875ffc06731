#![deny(unused)]
use bgtask::ShutdownToken;

#[bgtask::background]
async fn task(token: ShutdownToken) {}

fn main() {
    task();
}
