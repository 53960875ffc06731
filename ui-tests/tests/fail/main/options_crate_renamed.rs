#[bgtask::main(crate = "bg")]
async fn main() {}
