#![deny(deprecated)]

#[bgtask::background]
#[deprecated(note = "call another")]
async fn task() {}

fn main() {
    task();
}
