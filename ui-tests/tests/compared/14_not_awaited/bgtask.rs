//! The same.
#[bgtask::background]
async fn task() -> u32 {
    1
}

async fn caller() {
    let number: u32 = task();
    drop(number);
}

fn main() {
    drop(caller());
}
