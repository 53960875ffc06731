use bgtask::ShutdownToken;

#[bgtask::main]
async fn main(shutdown: &ShutdownToken) {}
