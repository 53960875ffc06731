//! Within an async block, and one site within another.
use bgtask::spawn;

#[test]
fn runs() {
    crate::run(async {
        let outer = spawn!("outer", async {
            let inner = spawn!("inner", async { spawn!("innermost", || 1).await });
            inner.await
        });
        assert_eq!(outer.await, Ok(Ok(Ok(1))));
        let made = spawn!("outer closure", move |token| async move {
            let also = spawn!(
                "inner closure",
                move |token| async move { token.is_cancelled() }
            );
            (also.await, token.is_cancelled())
        });
        assert_eq!(made.await, Ok((Ok(false), false)));
    });
}
