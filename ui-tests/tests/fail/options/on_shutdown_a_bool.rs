#[bgtask::background(on_shutdown = true)]
async fn task() {}

fn main() {
    task();
}
