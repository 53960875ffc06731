//! Policies in a module without a prelude, where user modules have the names of the standard library's.
#![no_implicit_prelude]
#![allow(dead_code)]

mod std {
    pub mod option {}
}
mod core {
    pub mod any {}
}
mod bgtask {}

#[::bgtask::background(
    timeout = "30s",
    retry(max = 2, when = is_passing, panics, last_attempt = false),
    concurrency(max = 1, queue = 1, key = *number),
    rate = "100/s",
    coalesce(key = *number),
    wrap = around,
    fields(number, text = %number, hidden = redact(number))
)]
async fn asynchronous(
    token: ::bgtask::ShutdownToken,
    number: u8,
) -> ::std::result::Result<bool, u8> {
    if number > 9 {
        return ::std::result::Result::Err(number);
    }
    ::std::result::Result::Ok(token.is_cancelled())
}

async fn around(attempt: ::bgtask::Attempt) {
    attempt.await;
}

fn is_passing(_: &u8) -> bool {
    true
}

#[::bgtask::background(retry(panics), coalesce(policy = "trailing"))]
fn plain<T: ::std::marker::Send + ::std::marker::Sync + ::std::clone::Clone + 'static>(
    value: T,
) -> T {
    value
}

struct Service(u8);

impl Service {
    #[::bgtask::background(rate(limit = "100/s", key = self.0), coalesce(key = a))]
    async fn method(self: ::std::sync::Arc<Self>, (a, b): (u8, u8)) -> u8 {
        self.0 + a + b
    }

    #[::bgtask::background(retry)]
    async fn makes(token: ::bgtask::ShutdownToken) -> ::std::result::Result<Self, u8> {
        ::std::assert!(!token.is_cancelled());
        ::std::result::Result::Ok(Self(1))
    }
}

#[::std::prelude::v1::test]
fn runs() {
    crate::run(async {
        ::std::assert_eq!(
            asynchronous(1).await,
            ::std::result::Result::Ok(::std::result::Result::Ok(false))
        );
        ::std::assert_eq!(plain(1).await, ::std::result::Result::Ok(1));
        ::std::assert_eq!(
            ::std::sync::Arc::new(Service(1)).method((1, 2)).await,
            ::std::result::Result::Ok(4)
        );
        ::std::assert!(Service::makes().await.is_ok());
    });
}
