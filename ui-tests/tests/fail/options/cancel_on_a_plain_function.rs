#[bgtask::background(on_shutdown = "cancel")]
fn task() {}

fn main() {
    task();
}
