// The user means `#[bgtask::main]`.
#[bgtask::background]
async fn main() {}
