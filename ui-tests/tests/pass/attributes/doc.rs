//! Documentation of every sort, on the function and on its parts.
#![deny(unused_doc_comments, rustdoc::all)]
use bgtask::background;

/// Outer.
///
/// ```
/// let example = 1;
/// ```
#[background]
/// Below the attribute.
#[doc = "As an attribute."]
#[doc(alias = "other", hidden)]
pub async fn documented(
    // No documentation: parameters have none.
    number: u32,
) -> u32 {
    //! Inner.
    number
}

#[test]
fn runs() {
    crate::run(async { assert_eq!(documented(1).await, Ok(1)) });
}
