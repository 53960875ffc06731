//! The same.
#[bgtask::background]
async fn task(number: u32) {
    drop(numbr);
}

fn main() {
    task(1);
}
