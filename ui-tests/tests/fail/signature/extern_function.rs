#[bgtask::background]
extern "C" fn task() {}

fn main() {
    task();
}
