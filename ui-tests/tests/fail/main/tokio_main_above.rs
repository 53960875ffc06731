#[tokio::main]
#[bgtask::main]
async fn main() {}
