//! No options, with and without parentheses.
use bgtask::background;

#[background]
async fn bare() -> u32 {
    1
}

#[background()]
async fn empty() -> u32 {
    2
}

#[test]
fn runs() {
    crate::run(async { assert_eq!((bare().await, empty().await), (Ok(1), Ok(2))) });
}
