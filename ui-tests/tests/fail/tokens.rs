use bgtask::ShutdownToken;

#[bgtask::background]
async fn two(a: ShutdownToken, key: String, b: bgtask::ShutdownToken) {}

#[bgtask::background]
async fn by_reference(token: &ShutdownToken) {}

#[bgtask::background]
async fn untyped(token: _) {}

fn main() {
    two(String::new());
}
