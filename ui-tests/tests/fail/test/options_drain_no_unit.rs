#[bgtask::test(drain = "5")]
async fn saves() {}

fn main() {}
