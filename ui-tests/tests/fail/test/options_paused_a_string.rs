#[bgtask::test(start_paused = "true")]
async fn saves() {}

fn main() {}
