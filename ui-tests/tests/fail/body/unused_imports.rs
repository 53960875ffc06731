#![deny(unused)]

#[bgtask::background]
async fn task() {
    use std::fmt::Write;
}

fn main() {
    task();
}
