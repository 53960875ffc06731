// Who means `#[bgtask::main]`.
#[bgtask::background]
async fn main() {}
