#[bgtask::background("x")]
async fn task() {}

fn main() {
    task();
}
