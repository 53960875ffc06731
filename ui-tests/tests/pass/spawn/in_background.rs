//! In the body of a background function, and in a test.
use bgtask::{background, spawn};
use std::sync::Arc;

struct Mailer;

impl Mailer {
    #[background]
    async fn send(self: Arc<Self>) -> u8 {
        spawn!("within a method", async move {
            let _ = &self;
            1
        })
        .await
        .unwrap()
    }
}

#[background]
async fn fans_out(count: u8) -> u8 {
    let mut sum = 0;
    for number in 0..count {
        sum += spawn!("part", async move { number }).await.unwrap();
    }
    sum
}

#[bgtask::test]
async fn runs() {
    assert_eq!(fans_out(3).await, Ok(3));
    assert_eq!(Arc::new(Mailer).send().await, Ok(1));
    bgtask::testing::assert_called("part", 3);
    bgtask::testing::assert_called(fans_out, 1);
}
