use bgtask::ShutdownToken;

#[bgtask::main]
async fn main(arguments: Vec<String>, shutdown: ShutdownToken) {}
