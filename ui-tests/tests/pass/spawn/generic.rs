//! In generic functions, with types and numbers.
use bgtask::{TaskHandle, spawn};
use std::fmt::Display;

fn shows<T: Display + Send + 'static>(value: T) -> TaskHandle<String> {
    spawn!("shows", async move { value.to_string() })
}

fn blocks<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(work: F) -> TaskHandle<T> {
    spawn!("blocks", move || work())
}

fn any<F>(future: F) -> TaskHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    spawn!("any", future)
}

fn sums<const N: usize>(numbers: [u32; N]) -> TaskHandle<(u32, usize)> {
    spawn!("sums", coalesce(key = numbers), async move {
        (numbers.iter().sum(), N)
    })
}

fn taken(value: impl Into<u64> + Send + 'static) -> TaskHandle<u64> {
    spawn!("taken", |token| async move {
        drop(token);
        value.into()
    })
}

#[test]
fn runs() {
    crate::run(async {
        assert_eq!(shows(1).await.unwrap(), "1");
        assert_eq!(shows("two").await.unwrap(), "two");
        assert_eq!(blocks(|| 3).await, Ok(3));
        assert_eq!(any(async { 4 }).await, Ok(4));
        assert_eq!(sums([1, 2]).await, Ok((3, 2)));
        assert_eq!(sums([1, 2, 3]).await, Ok((6, 3)));
        assert_eq!(taken(5_u32).await, Ok(5));
    });
}
