#[bgtask::main(dump = "SIGHUP")]
async fn main() {}
