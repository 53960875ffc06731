#[bgtask::background(name = , log = "info")]
async fn task() {}

fn main() {
    task();
}
