// Only the compiler can resolve a `crate` path.
#[bgtask::background(crate = "::absent")]
async fn task() {}

fn main() {
    task();
}
