#[bgtask::test]
async fn saves<T>() {}

fn main() {}
