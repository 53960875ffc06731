#[bgtask::test]
async fn saves() -> impl std::process::Termination {}

fn main() {}
