#[bgtask::background(log = "info", log = "warn")]
async fn task() {}

fn main() {
    task();
}
