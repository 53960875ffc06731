#[bgtask::background(color = "x")]
async fn task() {}

fn main() {
    task();
}
