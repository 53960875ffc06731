#[bgtask::main]
async fn start() {}

fn main() {}
