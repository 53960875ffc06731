//! Inner attributes of the body.
use bgtask::background;

#[background]
async fn asynchronous() -> u32 {
    #![allow(unused_variables)]
    let unused = 1;
    2
}

#[background]
fn plain() -> u32 {
    //! Documented inside.
    #![allow(unused_mut)]
    let mut number = 3;
    number
}

#[test]
fn runs() {
    crate::run(async { assert_eq!((asynchronous().await, plain().await), (Ok(2), Ok(3))) });
}
