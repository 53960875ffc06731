#[bgtask::test(worker_threads = 2)]
async fn saves() {}

fn main() {}
