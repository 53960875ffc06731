#[bgtask::background]
extern fn task() {}

fn main() {
    task();
}
