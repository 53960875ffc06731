#[bgtask::test(grace = "5s")]
async fn saves() {}

fn main() {}
