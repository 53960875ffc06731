use bgtask::ShutdownToken;

#[bgtask::background]
async fn task(token: ShutdownToken, key: String) {
    token.cancelled().await;
    drop(key);
}

fn main() {
    task(bgtask::shutdown_token(), String::new());
}
