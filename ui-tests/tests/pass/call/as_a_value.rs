//! The function as a value: a pointer, an argument, a map's element.
use bgtask::{TaskHandle, background};
use std::collections::BTreeMap;

#[background]
async fn double(number: u32) -> u32 {
    number * 2
}

#[background]
fn triple(number: u32) -> u32 {
    number * 3
}

#[test]
fn runs() {
    crate::run(async {
        let pointer: fn(u32) -> TaskHandle<u32> = double;
        assert_eq!(pointer(1).await, Ok(2));
        let by_name: BTreeMap<&str, fn(u32) -> TaskHandle<u32>> =
            BTreeMap::from([("double", double as fn(u32) -> _), ("triple", triple)]);
        assert_eq!(by_name["triple"](2).await, Ok(6));
        let mut doubled = Vec::new();
        for handle in (1..4).map(double).collect::<Vec<_>>() {
            doubled.push(handle.await.unwrap());
        }
        assert_eq!(doubled, [2, 4, 6]);
    });
}
