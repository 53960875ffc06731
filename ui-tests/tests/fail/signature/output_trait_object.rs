#[bgtask::background]
async fn task() -> dyn std::error::Error {
    std::fmt::Error
}

fn main() {
    task();
}
