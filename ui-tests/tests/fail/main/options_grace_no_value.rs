#[bgtask::main(grace)]
async fn main() {}
