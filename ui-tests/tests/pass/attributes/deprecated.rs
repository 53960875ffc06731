//! `deprecated` warns at the call, and nowhere in the generated code.
#![deny(deprecated)]
use bgtask::background;

#[background]
#[deprecated(since = "0.1.0", note = "call another")]
async fn old(left: u32) -> u32 {
    left
}

#[test]
fn runs() {
    crate::run(async {
        #[expect(deprecated)]
        let handle = old(1);
        assert_eq!(handle.await, Ok(1));
    });
}
