//! The token at any position of the signature; the call omits it.
use bgtask::{ShutdownToken, background};

#[background]
async fn first(token: ShutdownToken, key: String) -> String {
    drop(token);
    key
}

#[background]
async fn last(key: String, token: ShutdownToken) -> String {
    drop(token);
    key
}

#[background]
fn middle(a: u32, token: ShutdownToken, b: u32) -> u32 {
    if token.is_cancelled() { 0 } else { a + b }
}

#[background]
async fn only(token: ShutdownToken) -> bool {
    token.is_cancelled()
}

#[test]
fn runs() {
    crate::run(async {
        assert_eq!(first("a".into()).await.unwrap(), "a");
        assert_eq!(last("b".into()).await.unwrap(), "b");
        assert_eq!(middle(1, 2).await, Ok(3));
        assert_eq!(only().await, Ok(false));
    });
}
