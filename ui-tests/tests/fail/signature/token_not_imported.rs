#[bgtask::background]
async fn task(token: ShutdownToken) {}

fn main() {
    task();
}
