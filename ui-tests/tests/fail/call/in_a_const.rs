#[bgtask::background]
fn task() {}

const HANDLE: bgtask::TaskHandle<()> = task();

fn main() {}
