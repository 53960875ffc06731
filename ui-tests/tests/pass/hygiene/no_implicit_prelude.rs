//! A module without a prelude.
#![no_implicit_prelude]

#[::bgtask::background]
async fn asynchronous(token: ::bgtask::ShutdownToken, text: ::std::string::String) -> bool {
    text.is_empty() || token.is_cancelled()
}

#[::bgtask::background(name = "plain", log = "info", on_shutdown = "finish")]
fn plain<T: ::std::marker::Send + 'static>(value: T) -> T {
    value
}

struct Service;

impl Service {
    #[::bgtask::background]
    async fn method(
        self: ::std::sync::Arc<Self>,
        #[cfg(any())] gone: Absent,
        (a, b): (u8, u8),
    ) -> u8 {
        a + b
    }
}

#[::std::prelude::v1::test]
fn runs() {
    crate::run(async {
        ::std::assert_eq!(
            asynchronous(::std::string::String::new()).await,
            ::std::result::Result::Ok(true)
        );
        ::std::assert_eq!(plain(1).await, ::std::result::Result::Ok(1));
        ::std::assert_eq!(
            ::std::sync::Arc::new(Service).method((1, 2)).await,
            ::std::result::Result::Ok(3)
        );
    });
}
