//! The token by path, mutable, unnamed, unused, and from within a macro.
use bgtask::{ShutdownToken, background};

#[background]
async fn by_path(token: ::bgtask::ShutdownToken) -> bool {
    token.is_cancelled()
}

#[background]
async fn mutable(mut token: ShutdownToken) -> bool {
    token = token.clone();
    token.is_cancelled()
}

#[background]
async fn unnamed(_: ShutdownToken) {}

#[background]
async fn unused(_token: ShutdownToken) {}

#[background]
#[allow(unused_parens)]
async fn parenthesized(token: (ShutdownToken)) -> bool {
    token.is_cancelled()
}

macro_rules! with_type {
    ($ty:ty) => {
        #[background]
        async fn from_a_macro(token: $ty) -> bool {
            token.is_cancelled()
        }
    };
}
with_type!(ShutdownToken);

#[test]
fn runs() {
    crate::run(async {
        for handle in [by_path(), mutable(), parenthesized(), from_a_macro()] {
            assert_eq!(handle.await, Ok(false));
        }
        unnamed().await.unwrap();
        unused().await.unwrap();
    });
}
