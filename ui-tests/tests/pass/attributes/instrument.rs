//! `tracing::instrument` sees the function that runs, from below and from above.
use bgtask::{ShutdownToken, background};
use tracing::instrument;

#[background]
#[instrument(skip(token), ret)]
async fn below(token: ShutdownToken, number: u32) -> u32 {
    if token.is_cancelled() { 0 } else { number }
}

#[instrument]
#[background]
async fn above(number: u32) -> u32 {
    number
}

#[background]
#[tracing::instrument(err)]
fn plain(text: String) -> Result<u32, std::num::ParseIntError> {
    text.parse()
}

#[test]
fn runs() {
    crate::run(async {
        assert_eq!(below(1).await, Ok(1));
        assert_eq!(above(2).await, Ok(2));
        assert_eq!(plain("3".into()).await, Ok(Ok(3)));
    });
}
