//! Closures, async blocks and async closures in the body: `return` and `?` belong to them.
use bgtask::background;

#[background]
async fn task(number: u32) -> u32 {
    let sync = |text: &str| -> Option<u32> {
        let parsed = text.parse::<u32>().ok()?;
        return Some(parsed + number);
    };
    let block = async move {
        if number > 1 {
            return number;
        }
        1
    };
    let later = async |more: u32| more + number;
    sync("1").unwrap_or(0) + block.await + later(3).await
}

#[test]
#[allow(clippy::needless_return)]
fn runs() {
    crate::run(async { assert_eq!(task(2).await, Ok(10)) });
}
