use bgtask::ShutdownToken;

#[bgtask::main]
async fn main<T>(a: ShutdownToken, b: ShutdownToken) {}
