#[bgtask::main(strict = "yes")]
async fn main() {}
