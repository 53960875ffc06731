#[bgtask::background(log = "info"; name = "x")]
async fn task() {}

fn main() {
    task();
}
