#![deny(unused_must_use)]

#[bgtask::background]
#[must_use = "the sum is what it is for"]
async fn sum() -> u32 {
    1
}

fn main() {
    sum();
}
