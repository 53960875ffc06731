//! No lint of the compiler's speaks of what the attribute generates.
#![deny(
    warnings,
    dead_code,
    let_underscore_drop,
    missing_docs,
    non_ascii_idents,
    rust_2018_idioms,
    single_use_lifetimes,
    trivial_casts,
    unreachable_pub,
    unused,
    unused_qualifications,
    unused_results,
    variant_size_differences
)]
#![forbid(unsafe_code)]

use bgtask::{ShutdownToken, background};
use std::sync::Arc;

/// A service.
#[derive(Debug)]
pub struct Service;

impl Service {
    /// A method.
    #[background]
    pub async fn method(self: Arc<Self>, (a, b): (u32, u32), mut sum: u32) -> u32 {
        sum += a + b;
        sum
    }

    /// A plain method.
    #[background]
    pub fn plain_method(self: Arc<Self>) {
        drop(self)
    }
}

/// A task.
#[background]
pub async fn task(token: ShutdownToken, _unused: String, mut number: u32) -> u32 {
    token.cancelled().await;
    number += 1;
    number
}

/// A plain task.
#[background]
pub fn plain<T: Send + 'static>(value: T) {
    drop(value)
}

#[bgtask::main(flavor = "current_thread", grace = "1s500ms")]
async fn main() {
    drop(task(String::new(), 1));
    drop(plain(1));
    drop(Arc::new(Service).method((1, 2), 3));
    drop(Arc::new(Service).plain_method());
}
