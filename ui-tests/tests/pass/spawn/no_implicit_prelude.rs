//! A module without a prelude.
#![no_implicit_prelude]

fn start() -> ::bgtask::TaskHandle<::std::result::Result<u8, ::std::string::String>> {
    ::bgtask::spawn!(
        "all of them",
        timeout = "1m",
        retry(max = 2, when = |error| error.is_empty()),
        concurrency(max = 1, queue = 1, overflow = "refuse", key = 1_u8),
        rate = "100/s",
        coalesce(key = "one"),
        move |token: ::bgtask::ShutdownToken| async move {
            ::std::mem::drop(token);
            ::std::result::Result::Ok(1)
        }
    )
}

#[::std::prelude::v1::test]
fn runs() {
    crate::run(async {
        ::std::assert_eq!(
            ::bgtask::spawn!("future", async { 1 }).await,
            ::std::result::Result::Ok(1)
        );
        ::std::assert_eq!(
            ::bgtask::spawn!("blocks", || 2).await,
            ::std::result::Result::Ok(2)
        );
        ::std::assert_eq!(
            start().await,
            ::std::result::Result::Ok(::std::result::Result::Ok(1))
        );
    });
}
