#[bgtask::main]
#[tokio::main]
async fn main() {}
