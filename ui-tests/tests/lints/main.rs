//! No lint that a user could turn on speaks of what the attributes generate.
#![deny(
    warnings,
    absolute_paths_not_starting_with_crate,
    ambiguous_negative_literals,
    closure_returning_async_block,
    deprecated_in_future,
    deprecated_safe_2024,
    deref_into_dyn_supertrait,
    edition_2024_expr_fragment_specifier,
    elided_lifetimes_in_paths,
    explicit_outlives_requirements,
    ffi_unwind_calls,
    future_incompatible,
    if_let_rescope,
    impl_trait_overcaptures,
    impl_trait_redundant_captures,
    keyword_idents,
    let_underscore_drop,
    linker_messages,
    macro_use_extern_crate,
    meta_variable_misuse,
    missing_copy_implementations,
    missing_debug_implementations,
    missing_docs,
    missing_unsafe_on_extern,
    non_ascii_idents,
    nonstandard_style,
    redundant_imports,
    redundant_lifetimes,
    rust_2018_idioms,
    rust_2021_compatibility,
    rust_2024_compatibility,
    single_use_lifetimes,
    tail_expr_drop_order,
    trivial_casts,
    trivial_numeric_casts,
    unit_bindings,
    unnameable_types,
    unreachable_pub,
    unsafe_attr_outside_unsafe,
    unsafe_op_in_unsafe_fn,
    unstable_features,
    unused,
    unused_crate_dependencies,
    unused_extern_crates,
    unused_import_braces,
    unused_lifetimes,
    unused_macro_rules,
    unused_qualifications,
    unused_results,
    variant_size_differences
)]
#![deny(clippy::all, clippy::nursery, clippy::pedantic, clippy::restriction)]
#![allow(
    clippy::blanket_clippy_restriction_lints,
    clippy::needless_return,
    clippy::separated_literal_suffix,
    reason = "another lint asks for the opposite"
)]
#![allow(
    clippy::missing_inline_in_public_items,
    reason = "the function asks for it without the attribute just as well"
)]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::sync::Arc;
use async_trait as _;
use bgtask::{ShutdownToken, TaskHandle, background};
use bgtask_ui_tests as _;
use core::future::ready;
use std::io;
use tokio as _;
use tokio_util as _;
use tracing as _;
use trybuild as _;

/// Emits tasks.
macro_rules! tasks {
    ($($name:ident($($parameter:ident: $ty:ty),*) $body:block)*) => {
        $(
            /// Made by a macro.
            #[background]
            pub async fn $name($($parameter: $ty),*) $body
        )*
    };
}

/// A service.
#[derive(Debug)]
#[non_exhaustive]
pub struct Service;

impl Service {
    /// No receiver.
    #[background]
    pub async fn associated(number: u32) -> u32 {
        return ready(number).await;
    }

    /// No receiver, and `Self`.
    #[background]
    pub async fn makes() -> Self {
        return Self;
    }

    /// A method.
    #[background]
    pub async fn method(self: Arc<Self>, (left, right): (u32, u32), mut sum: u32) -> u32 {
        sum = sum.wrapping_add(left).wrapping_add(right);
        return sum;
    }

    /// A plain method.
    #[background]
    pub fn plain_method(self: Arc<Self>, _number: u32) {
        drop(self);
    }
}

/// A parameter that has a lifetime, and one that has a name with an underscore.
#[background]
pub async fn task(token: ShutdownToken, _unused: String, mut number: u32) -> u32 {
    token.cancelled().await;
    number = number.wrapping_add(1);
    return number;
}

/// All the options.
#[background(
    name = "a name",
    log = "info",
    on_shutdown = "cancel",
    crate = "::bgtask"
)]
pub async fn options() {
    ready(()).await;
}

/// An output that can fail.
#[background]
pub async fn fails() -> io::Result<()> {
    return ready(Ok(())).await;
}

/// A plain task.
#[background]
pub fn plain<T: Send + 'static>(value: T) {
    drop(value);
}

/// A plain task without parameters.
#[background]
pub fn plain_without() -> u32 {
    return 1;
}

/// A plain task that takes by value what it could borrow, were it called at once.
#[background]
pub fn takes_by_value(text: String, bytes: [u8; 1024]) -> usize {
    return text.len().wrapping_add(bytes.len());
}

/// Generic.
#[background]
pub async fn generic<T, const N: usize>(values: [T; N]) -> usize
where
    T: Send + 'static,
{
    return ready(values).await.len();
}

/// An `impl Trait`.
#[background]
#[expect(
    clippy::impl_trait_in_params,
    reason = "the lint speaks of the function"
)]
pub async fn impl_trait(name: impl Into<String> + Send + 'static) -> String {
    return ready(name).await.into();
}

/// Patterns, and a parameter that is not there.
#[background]
pub async fn with_cfg(
    #[cfg(any())] gone: Absent,
    (left, _): (u32, u32),
    _unused: String,
    mut right: u32,
) -> u32 {
    right = ready(right.wrapping_add(left)).await;
    return right;
}

/// Calls itself.
#[background]
pub async fn recursive(left: u32) {
    if let Some(next) = ready(left).await.checked_sub(1) {
        drop::<TaskHandle<()>>(recursive(next));
    }
}

/// Has a function within.
#[background]
pub async fn has_items() -> u32 {
    /// Makes a number.
    fn make() -> u32 {
        return 1;
    }
    return ready(make()).await.wrapping_add(make());
}

/// Clippy takes code for the user's if its source begins as it should, and here the source is the name.
#[background]
pub async fn returns_a_number(token_count: u32) -> u32 {
    return ready(token_count).await;
}

/// As above.
#[background]
pub fn let_go(number: u32) -> u32 {
    return number;
}

/// As above.
#[background]
pub async fn move_on(#[cfg(any())] gone: Absent, stop: u32) -> u32 {
    return ready(stop).await;
}

/// Has a name that says nobody uses it.
#[background]
pub async fn _underscored() {
    ready(()).await;
}

tasks! {
    made(text: String) {
        drop(ready(text).await);
    }
}

#[bgtask::main(flavor = "current_thread", grace = "1s500ms")]
async fn main() {
    drop(Arc::new(Service).method((1, 2), 3));
    drop(Arc::new(Service).plain_method(1));
    drop(Service::associated(1));
    drop(Service::makes());
    drop(fails());
    drop(generic([1_u32]));
    drop(has_items());
    drop(impl_trait("name"));
    drop(let_go(1));
    drop(made(String::new()));
    drop(move_on(1));
    drop(options());
    drop(plain(1_u32));
    drop(plain_without());
    drop(recursive(1));
    drop(returns_a_number(1));
    drop(takes_by_value(String::new(), [0; 1024]));
    drop(task(String::new(), 1));
    drop(with_cfg((1, 2), String::new(), 3));
    ready(()).await;
}

#[bgtask::test]
async fn a_test_that_returns_nothing() {}

#[bgtask::test(flavor = "multi_thread", worker_threads = 2, drain = "1s500ms")]
async fn a_test_that_returns_a_result(shutdown: ShutdownToken) -> Result<(), std::io::Error> {
    assert!(!shutdown.is_cancelled(), "nobody has asked");
    Ok(())
}
