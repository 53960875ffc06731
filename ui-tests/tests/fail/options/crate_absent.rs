// What a `crate` path leads to, only the compiler can say.
#[bgtask::background(crate = "::absent")]
async fn task() {}

fn main() {
    task();
}
