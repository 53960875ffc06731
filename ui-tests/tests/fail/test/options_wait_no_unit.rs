#[bgtask::test(wait = "5")]
async fn saves() {}

fn main() {}
