#[bgtask::test]
const async unsafe extern "C" fn saves() {}

fn main() {}
