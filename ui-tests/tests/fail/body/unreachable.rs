#![deny(unreachable_code)]

#[bgtask::background]
async fn task() -> u32 {
    return 1;
    2
}

fn main() {
    task();
}
