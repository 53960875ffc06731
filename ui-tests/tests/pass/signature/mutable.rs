//! Mutable parameters.
use bgtask::background;

#[background]
async fn asynchronous(mut sum: u32, mut all: Vec<u32>) -> u32 {
    sum += all.pop().unwrap_or(0);
    sum
}

#[background]
fn plain(mut sum: u32) -> u32 {
    sum += 1;
    sum
}

#[test]
fn runs() {
    crate::run(async {
        assert_eq!(
            (asynchronous(1, vec![2]).await, plain(1).await),
            (Ok(3), Ok(2))
        )
    });
}
