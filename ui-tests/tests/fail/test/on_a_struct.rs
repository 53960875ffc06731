#[bgtask::test]
struct Pages;

fn main() {}
