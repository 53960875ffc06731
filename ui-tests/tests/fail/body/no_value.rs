#[bgtask::background]
async fn task(number: u32) -> u32 {
    number + 1;
}

fn main() {
    task(1);
}
