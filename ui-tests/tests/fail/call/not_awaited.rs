#[bgtask::background]
async fn task() -> u32 {
    1
}

fn main() {
    let number: u32 = task();
    drop(number);
}
