use bgtask::ShutdownToken;

#[bgtask::background]
async fn task(a: ShutdownToken, b: ShutdownToken, c: ShutdownToken) {}

fn main() {
    task();
}
