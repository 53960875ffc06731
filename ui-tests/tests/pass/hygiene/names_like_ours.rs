//! Functions, parameters, variables and types with the names of generated items.
use bgtask::{ShutdownToken, background};
use std::sync::Arc;

#[background]
async fn parameters(
    run: u8,
    token: u8,
    launch: u8,
    begin: u8,
    handle: u8,
    arg1: u8,
    classify: u8,
    tkn: ShutdownToken,
) -> u8 {
    drop(tkn);
    run + token + launch + begin + handle + arg1 + classify
}

#[background]
async fn patterns((a, b): (u8, u8), arg1: u8, arg2: u8, (c, d): (u8, u8)) -> u8 {
    a + b + arg1 + arg2 + c + d
}

#[background]
fn run(run: u8) -> u8 {
    run
}

#[background]
async fn launch(token: ShutdownToken) -> bool {
    token.is_cancelled()
}

#[background]
async fn begin() {}

#[background]
async fn token() {}

struct Service;

impl Service {
    #[background]
    async fn run(self: Arc<Self>, run: u8, token: u8, output: u8, the_token: ShutdownToken) -> u8 {
        drop(the_token);
        run + token + output
    }
}

#[test]
fn runs() {
    crate::run(async {
        assert_eq!(parameters(1, 2, 3, 4, 5, 6, 7).await, Ok(28));
        assert_eq!(patterns((1, 2), 3, 4, (5, 6)).await, Ok(21));
        assert_eq!(run(1).await, Ok(1));
        assert_eq!(launch().await, Ok(false));
        begin().await.unwrap();
        token().await.unwrap();
        assert_eq!(Arc::new(Service).run(1, 2, 3).await, Ok(6));
    });
}
