#[bgtask::background(log = "loud")]
async fn task() {}

fn main() {
    task();
}
