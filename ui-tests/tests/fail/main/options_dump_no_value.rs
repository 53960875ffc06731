#[bgtask::main(dump)]
async fn main() {}
