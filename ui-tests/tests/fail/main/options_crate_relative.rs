#[bgtask::main(crate = "bgtask")]
async fn main() {}
