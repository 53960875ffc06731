#[bgtask::background(log = "debgu")]
async fn task() {}

fn main() {
    task();
}
