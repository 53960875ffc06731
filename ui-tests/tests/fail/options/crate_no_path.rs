#[bgtask::background(crate = "::bg task")]
async fn task() {}

fn main() {
    task();
}
