#[bgtask::test]
#[bgtask::background]
async fn saves() {}

fn main() {}
