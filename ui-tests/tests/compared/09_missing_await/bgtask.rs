//! The same.
async fn number() -> u32 {
    1
}

#[bgtask::background]
async fn task() -> u32 {
    number() + 1
}

fn main() {
    task();
}
