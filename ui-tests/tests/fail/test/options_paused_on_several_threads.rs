#[bgtask::test(flavor = "multi_thread", start_paused = true)]
async fn saves() {}

fn main() {}
