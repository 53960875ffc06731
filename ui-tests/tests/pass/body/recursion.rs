//! A function that starts itself.
use bgtask::{TaskHandle, background};

#[background]
async fn asynchronous(left: u32) -> u32 {
    if left == 0 {
        return 0;
    }
    let next: TaskHandle<u32> = asynchronous(left - 1);
    next.await.unwrap_or(0) + 1
}

#[background]
fn plain(left: u32) {
    if left > 0 {
        drop::<TaskHandle<()>>(plain(left - 1));
    }
}

#[background]
async fn one(left: u32) {
    if left > 0 {
        other(left - 1);
    }
}

#[background]
async fn other(left: u32) {
    if left > 0 {
        one(left - 1);
    }
}

#[background]
async fn generic<T: Clone + Send + 'static>(value: T, left: u32) -> T {
    if left > 0 {
        generic(value.clone(), left - 1);
    }
    value
}

#[test]
fn runs() {
    crate::run(async {
        assert_eq!(asynchronous(3).await, Ok(3));
        plain(3).await.unwrap();
        one(3).await.unwrap();
        assert_eq!(generic('c', 3).await, Ok('c'));
    });
}
