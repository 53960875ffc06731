//! Within a closure, called more than once.
use bgtask::{TaskHandle, spawn};

#[test]
fn runs() {
    crate::run(async {
        let start =
            |number: u32| -> TaskHandle<u32> { spawn!("from a closure", async move { number }) };
        assert_eq!(start(1).await, Ok(1));
        assert_eq!(start(2).await, Ok(2));
        let each = (0..3).map(|number| spawn!("from an iterator", move || number));
        for (number, handle) in each.enumerate() {
            assert_eq!(handle.await, Ok(number));
        }
        let mut count = 0;
        let mut counts = || {
            count += 1;
            spawn!("from one that changes", async move { count })
        };
        drop(counts());
        assert_eq!(counts().await, Ok(2));
    });
}
