//! `must_use` warns about the handle.
#![deny(unused_must_use)]
use bgtask::background;

#[background]
#[must_use = "the sum is what it is for"]
async fn sum(a: u32, b: u32) -> u32 {
    a + b
}

#[test]
fn runs() {
    crate::run(async {
        #[expect(unused_must_use)]
        {
            sum(1, 2);
        }
        assert_eq!(sum(1, 2).await, Ok(3));
    });
}
