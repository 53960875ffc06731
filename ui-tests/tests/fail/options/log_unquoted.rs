#[bgtask::background(log = info)]
async fn task() {}

fn main() {
    task();
}
