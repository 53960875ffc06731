#[bgtask::test]
#[test]
async fn saves() {}

#[bgtask::test]
#[tokio::test]
async fn sends() {}

fn main() {}
