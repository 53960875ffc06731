//! In functions that others hold as values.
use bgtask::{TaskHandle, spawn};
use std::sync::LazyLock;

const START: fn(u8) -> TaskHandle<u8> = |number| spawn!("in a const", async move { number });

static STARTS: LazyLock<Box<dyn Fn() -> TaskHandle<u8> + Send + Sync>> =
    LazyLock::new(|| Box::new(|| spawn!("in a static", || 2)));

#[test]
fn runs() {
    crate::run(async {
        assert_eq!(START(1).await, Ok(1));
        assert_eq!(STARTS().await, Ok(2));
    });
}
