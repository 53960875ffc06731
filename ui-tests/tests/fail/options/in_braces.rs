#[bgtask::background({ name = "x" })]
async fn task() {}

fn main() {
    task();
}
