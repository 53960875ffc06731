#[bgtask::test(drian = "5s")]
async fn saves() {}

fn main() {}
