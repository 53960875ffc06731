//! A token under another name is an argument like any other.
use bgtask::{ShutdownToken as Token, background};

#[background]
async fn watches(token: Token) -> bool {
    token.is_cancelled()
}

/// Parameters that have a token's name and are none.
#[background]
async fn others(token: u32, shutdown: std::time::Duration, stop: Stop) -> bool {
    token > 0 && shutdown.is_zero() && matches!(stop, Stop)
}

struct Stop;

#[test]
fn runs() {
    crate::run(async {
        assert_eq!(watches(bgtask::shutdown_token()).await, Ok(false));
        assert_eq!(others(1, std::time::Duration::ZERO, Stop).await, Ok(true));
    });
}
