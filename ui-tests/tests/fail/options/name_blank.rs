#[bgtask::background(name = "  ")]
async fn task() {}

fn main() {
    task();
}
