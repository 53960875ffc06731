#[bgtask::background(,)]
async fn task() {}

fn main() {
    task();
}
