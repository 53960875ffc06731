#[bgtask::background]
unsafe extern "C" fn task(_: ...) {}

fn main() {}
