//! From macros by example, with every part passed on.
use bgtask::{TaskHandle, spawn};

macro_rules! starts {
    ($name:expr, $work:expr) => {
        spawn!($name, $work)
    };
}

macro_rules! starts_block {
    ($name:literal, $timeout:literal, $body:block) => {
        spawn!($name, timeout = $timeout, async move $body)
    };
}

macro_rules! starts_body {
    ($name:literal, token, $body:block) => {
        spawn!($name, move |_token| async move $body)
    };
    ($name:literal, retry, $body:block) => {
        spawn!($name, retry(panics), async move $body)
    };
    ($name:literal, retry_token, $body:block) => {
        spawn!($name, retry(panics), move |_token| async move $body)
    };
    ($name:literal, async_closure, $body:block) => {
        spawn!($name, async move |_token| $body)
    };
    ($name:literal, blocking, $body:block) => {
        spawn!($name, move || -> i32 $body)
    };
    ($name:literal, expression, $body:expr) => {
        spawn!($name, move |_token| $body)
    };
}

macro_rules! starts_each {
    ($($name:ident => $number:expr),* $(,)?) => {
        [$(spawn!(stringify!($name), async move { $number })),*]
    };
}

macro_rules! starts_numbers {
    ($($number:literal)*) => {
        vec![$(spawn!("one of several", move || $number)),*]
    };
}

macro_rules! passes_all {
    ($($tokens:tt)*) => {
        ::bgtask::spawn!($($tokens)*)
    };
}

#[test]
fn runs() {
    crate::run(async {
        let probe = 1;
        let handle: TaskHandle<Result<_, String>> = starts!("passed on", async move { Ok(probe) });
        assert_eq!(handle.await, Ok(Ok(1)));
        assert_eq!(
            starts!("a closure", |token| async move { token.is_cancelled() }).await,
            Ok(false)
        );
        assert_eq!(starts!("blocks", move || probe).await, Ok(1));
        assert_eq!(starts_block!("a block", "1m", { probe }).await, Ok(1));
        assert_eq!(starts_body!("a body", token, { probe }).await, Ok(1));
        assert_eq!(starts_body!("a body", retry, { probe }).await, Ok(1));
        assert_eq!(starts_body!("a body", retry_token, { probe }).await, Ok(1));
        assert_eq!(
            starts_body!("a body", async_closure, { probe }).await,
            Ok(1)
        );
        assert_eq!(starts_body!("a body", blocking, { probe }).await, Ok(1));
        assert_eq!(
            starts_body!("a body", expression, async move { probe }).await,
            Ok(1)
        );
        for (number, handle) in starts_each!(zero => 0, one => 1).into_iter().enumerate() {
            assert_eq!(handle.await, Ok(number));
        }
        for (number, handle) in starts_numbers!(0 1 2).into_iter().enumerate() {
            assert_eq!(handle.await, Ok(number));
        }
        assert_eq!(
            passes_all!(
                "everything",
                retry(panics),
                log = "off",
                async move { probe }
            )
            .await,
            Ok(1)
        );
    });
}
