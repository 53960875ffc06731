//! The same.
#[bgtask::background]
async fn task() -> u32 {
    "text"
}

fn main() {
    task();
}
