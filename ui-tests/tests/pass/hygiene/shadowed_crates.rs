//! User modules named `std`, `core`, `alloc`, `bgtask`, `inventory`, `tokio`, `tracing`.
use bgtask::background;

#[allow(dead_code)]
mod std {
    pub mod process {}
}
#[allow(dead_code)]
mod core {
    pub mod time {}
}
mod alloc {}
mod inventory {}
mod tokio {}
mod tracing {}

mod inner {
    #[allow(dead_code)]
    mod bgtask {}

    #[::bgtask::background(log = "info")]
    pub async fn task(token: ::bgtask::ShutdownToken) -> bool {
        token.is_cancelled()
    }
}

#[background]
fn plain() -> u8 {
    1
}

#[test]
fn runs() {
    crate::run(async {
        assert_eq!(inner::task().await, Ok(false));
        assert_eq!(plain().await, Ok(1));
    });
}
