use bgtask::ShutdownToken;

#[bgtask::test]
async fn saves(shutdown: &ShutdownToken) {
    shutdown.cancelled().await;
}

fn main() {}
