#[bgtask::background(name = concat!("a", "b"))]
async fn task() {}

fn main() {
    task();
}
