#[bgtask::main(flavor = "multi")]
async fn main() {}
