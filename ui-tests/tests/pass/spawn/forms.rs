//! Every form that work can have.
use bgtask::{ShutdownToken, spawn};
use std::future::{Future, ready};
use std::pin::Pin;

fn fetch(number: u32) -> impl Future<Output = u32> + Send + 'static {
    ready(number)
}

fn boxed(number: u32) -> Pin<Box<dyn Future<Output = u32> + Send>> {
    Box::pin(ready(number))
}

#[test]
fn runs() {
    crate::run(async {
        let held = String::from("held");
        assert_eq!(spawn!("an async block", async { 1 }).await, Ok(1));
        let length = held.clone();
        assert_eq!(
            spawn!("one that moves", async move { length.len() }).await,
            Ok(4)
        );
        assert_eq!(spawn!("a call", fetch(2)).await, Ok(2));
        assert_eq!(spawn!("a boxed future", boxed(3)).await, Ok(3));
        let future = fetch(4);
        assert_eq!(spawn!("a variable", future).await, Ok(4));
        assert_eq!(
            spawn!(
                "an expression",
                if held.is_empty() { fetch(0) } else { fetch(5) }
            )
            .await,
            Ok(5)
        );
        assert_eq!(spawn!("a chain", async { 6 }.into_future()).await, Ok(6));
        assert_eq!(
            spawn!("makes one", move || async move { held.len() }).await,
            Ok(4)
        );
        assert_eq!(
            spawn!("makes one from the token", |token| async move {
                token.is_cancelled()
            })
            .await,
            Ok(false)
        );
        assert_eq!(
            spawn!("with its type", |token: ShutdownToken| async move {
                token.is_cancelled()
            })
            .await,
            Ok(false)
        );
        assert_eq!(
            spawn!("after statements", move || {
                let number = 7;
                async move { number }
            })
            .await,
            Ok(7)
        );
        assert_eq!(spawn!("an async closure", async || 8).await, Ok(8));
        assert_eq!(
            spawn!("one with the token", async move |token| token
                .is_cancelled())
            .await,
            Ok(false)
        );
        assert_eq!(
            spawn!("one with its type", async |token: ShutdownToken| {
                token.is_cancelled()
            })
            .await,
            Ok(false)
        );
        assert_eq!(spawn!("blocks", || 9).await, Ok(9));
        assert_eq!(
            spawn!("blocks with the token", move |token| token.is_cancelled()).await,
            Ok(false)
        );
        assert_eq!(
            spawn!("says what it returns", |token: ShutdownToken| -> bool {
                token.is_cancelled()
            })
            .await,
            Ok(false)
        );
        assert_eq!(
            spawn!("does without the token", |_| async { 10 }).await,
            Ok(10)
        );
        assert_eq!(spawn!("with a comma behind", async { 11 },).await, Ok(11));
        assert_eq!(
            spawn! {
                "in braces",
                log = "info",
                async { 12 }
            }
            .await,
            Ok(12)
        );
    });
}
