//! `?` and `return`.
use bgtask::background;
use std::num::ParseIntError;

#[background]
async fn asynchronous(text: String) -> Result<u32, ParseIntError> {
    if text.is_empty() {
        return Ok(0);
    }
    Ok(text.parse::<u32>()?)
}

#[background]
fn plain(text: String) -> Option<char> {
    let first = text.chars().next()?;
    if first.is_ascii() {
        return Some(first);
    }
    None
}

#[background]
async fn with_cfg(#[cfg(not(any()))] text: String) -> Result<u32, ParseIntError> {
    if text.is_empty() {
        return Ok(0);
    }
    Ok(text.parse::<u32>()?)
}

#[test]
fn runs() {
    crate::run(async {
        assert_eq!(asynchronous(String::new()).await, Ok(Ok(0)));
        assert_eq!(asynchronous("7".into()).await, Ok(Ok(7)));
        assert_eq!(plain("ab".into()).await, Ok(Some('a')));
        assert!(with_cfg("x".into()).await.unwrap().is_err());
    });
}
