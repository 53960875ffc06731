#[bgtask::main(warn_after = "never")]
async fn main() {}
