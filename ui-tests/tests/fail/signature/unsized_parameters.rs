#[bgtask::background]
async fn task(text: str, bytes: [u8], call: dyn Fn()) {}

fn main() {}
