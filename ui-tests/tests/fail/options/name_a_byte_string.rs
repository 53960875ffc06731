#[bgtask::background(name = b"x")]
async fn task() {}

fn main() {
    task();
}
