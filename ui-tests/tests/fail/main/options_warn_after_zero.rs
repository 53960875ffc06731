#[bgtask::main(warn_after = "0s")]
async fn main() {}
