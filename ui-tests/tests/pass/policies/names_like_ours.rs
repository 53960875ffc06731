//! Functions, parameters and variables with the names that the attribute generates for policies.
use bgtask::{ShutdownToken, background};

#[background(
    timeout = "30s",
    retry(when = |call: &u8| *call > refused()),
    concurrency(max = 1, key = (keys, key, state)),
    coalesce(key = (call, attempts)),
)]
async fn parameters(
    call: u8,
    keys: u8,
    attempts: u8,
    when: u8,
    state: u8,
    origin: u8,
    token: u8,
    key: u8,
    tkn: ShutdownToken,
) -> Result<u8, u8> {
    drop(tkn);
    Ok(call + keys + attempts + when + state + origin + token + key)
}

fn refused() -> u8 {
    3
}

#[background(retry(panics), rate(limit = "100/s", key = call))]
fn call(call: u8) -> u8 {
    call
}

#[background(timeout = "1s")]
async fn attempts() {}

#[background(retry)]
fn state(key: u8, token: ShutdownToken) -> Result<u8, ()> {
    if token.is_cancelled() {
        Err(())
    } else {
        Ok(key)
    }
}

#[test]
fn runs() {
    crate::run(async {
        assert_eq!(parameters(1, 2, 3, 4, 5, 6, 7, 8).await, Ok(Ok(36)));
        assert_eq!(call(1).await, Ok(1));
        attempts().await.unwrap();
        assert_eq!(state(1).await, Ok(Ok(1)));
    });
}
