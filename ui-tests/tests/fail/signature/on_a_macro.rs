#[bgtask::background]
macro_rules! task {
    () => {};
}

fn main() {
    task!();
}
