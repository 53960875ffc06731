use bgtask::{ShutdownToken, spawn};

async fn handle(token: ShutdownToken) {
    token.cancelled().await;
}

fn main() {
    spawn!("sync", move |token| handle(token));
}
