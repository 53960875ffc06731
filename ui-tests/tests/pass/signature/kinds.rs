//! An async function and a plain one.
use bgtask::background;

#[background]
async fn asynchronous(number: u32) -> u32 {
    number
}

#[background]
fn plain(number: u32) -> u32 {
    number
}

#[test]
fn runs() {
    crate::run(async { assert_eq!((asynchronous(1).await, plain(2).await), (Ok(1), Ok(2))) });
}
