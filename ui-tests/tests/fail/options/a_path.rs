#[bgtask::background(bgtask::name = "x")]
async fn task() {}

fn main() {
    task();
}
