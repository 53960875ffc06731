use bgtask::ShutdownToken;

#[bgtask::main]
async fn main(a: ShutdownToken, b: ShutdownToken) {}
