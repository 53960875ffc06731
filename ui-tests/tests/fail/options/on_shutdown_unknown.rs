#[bgtask::background(on_shutdown = "wait")]
async fn task() {}

fn main() {
    task();
}
