#[bgtask::main(grace = "1s", grace = "2s")]
async fn main() {}
