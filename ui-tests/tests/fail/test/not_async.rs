#[bgtask::test]
fn saves() {}

fn main() {}
