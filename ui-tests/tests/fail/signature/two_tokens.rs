use bgtask::ShutdownToken;

#[bgtask::background]
async fn task(a: ShutdownToken, key: String, b: bgtask::ShutdownToken) {}

fn main() {
    task(String::new());
}
