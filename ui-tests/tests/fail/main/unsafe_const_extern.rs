#[bgtask::main]
unsafe extern "C" fn main() {}
