#[bgtask::test(timeout = "5s")]
async fn saves() {}

fn main() {}
