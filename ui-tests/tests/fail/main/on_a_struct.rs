#[bgtask::main]
struct Main;

fn main() {}
