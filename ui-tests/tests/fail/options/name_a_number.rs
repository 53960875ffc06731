#[bgtask::background(name = 1)]
async fn task() {}

fn main() {
    task();
}
