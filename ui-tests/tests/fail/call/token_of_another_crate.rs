use tokio_util::sync::CancellationToken;

#[bgtask::background]
async fn task(token: CancellationToken) {
    token.cancelled().await;
}

fn main() {
    task();
}
