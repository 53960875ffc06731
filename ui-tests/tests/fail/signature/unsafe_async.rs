#[bgtask::background]
unsafe async fn task() {}

fn main() {
    task();
}
