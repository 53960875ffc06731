#[bgtask::test(wait = "0s")]
async fn saves() {}

fn main() {}
