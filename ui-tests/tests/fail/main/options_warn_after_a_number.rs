#[bgtask::main(warn_after = 30)]
async fn main() {}
