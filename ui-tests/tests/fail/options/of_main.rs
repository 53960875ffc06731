// An option of `#[bgtask::main]`.
#[bgtask::background(grace = "30s")]
async fn task() {}

fn main() {
    task();
}
