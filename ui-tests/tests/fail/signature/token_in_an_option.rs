use bgtask::ShutdownToken;

#[bgtask::background]
async fn task(token: Option<ShutdownToken>) {}

fn main() {
    task();
}
