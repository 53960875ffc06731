#[bgtask::background(nmae = "x")]
async fn task() {}

fn main() {
    task();
}
