#[bgtask::main(log = "info")]
async fn main() {}
