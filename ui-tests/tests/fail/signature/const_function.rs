#[bgtask::background]
const fn task() -> u8 {
    1
}

fn main() {
    task();
}
