#[bgtask::main]
fn main() {}
