#[bgtask::background(Name = "x")]
async fn task() {}

fn main() {
    task();
}
