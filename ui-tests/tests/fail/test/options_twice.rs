#[bgtask::test(drain = "5s", drain = "6s")]
async fn saves() {}

fn main() {}
