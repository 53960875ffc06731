#[bgtask::main(grace = "1s1m")]
async fn main() {}
