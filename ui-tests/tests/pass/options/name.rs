//! A chosen name, for async and for plain functions.
use bgtask::background;

#[background(name = "a name, with spaces")]
async fn asynchronous() {}

#[background(name = r"raw")]
fn plain() {}

#[test]
fn names() {
    crate::run(async {
        let handle = asynchronous();
        assert_eq!(handle.name(), "a name, with spaces");
        handle.await.unwrap();
        assert_eq!(plain().name(), "raw");
    });
}
