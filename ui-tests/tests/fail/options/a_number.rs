#[bgtask::background(3)]
async fn task() {}

fn main() {
    task();
}
