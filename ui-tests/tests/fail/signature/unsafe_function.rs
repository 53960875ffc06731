#[bgtask::background]
pub unsafe fn task() {}

fn main() {
    task();
}
