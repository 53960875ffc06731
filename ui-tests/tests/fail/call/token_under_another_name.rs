use bgtask::ShutdownToken as Token;

#[bgtask::background]
async fn task(token: Token) {
    token.cancelled().await;
}

fn main() {
    task();
}
