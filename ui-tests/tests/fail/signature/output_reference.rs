#[bgtask::background]
async fn task() -> &str {
    ""
}

fn main() {
    task();
}
