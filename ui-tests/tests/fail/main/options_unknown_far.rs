#[bgtask::main(threads_for_blocking = 4)]
async fn main() {}
