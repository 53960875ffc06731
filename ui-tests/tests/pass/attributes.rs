//! Attributes on the function and on its parameters.
use bgtask::background;

/// Documented.
#[background]
#[cfg(not(any()))]
#[allow(unused_variables)]
async fn routed(#[allow(unused)] number: u32) {}

#[background]
#[cfg(any())]
async fn routed(this: DoesNotExist) {}

#[background]
async fn with_cfg(#[cfg(not(any()))] kept: u32, #[cfg(any())] gone: DoesNotExist, last: u32) -> u32 {
    kept + last
}

#[background]
fn with_cfg_plain(#[cfg(any())] gone: DoesNotExist, mut last: u32) -> u32 {
    last += 1;
    last
}

#[background]
async fn with_inner_attributes() {
    #![allow(unused_variables)]
    let unused = 1;
}

#[background]
#[must_use]
async fn must_be_used() -> u32 {
    1
}

#[background]
#[track_caller]
async fn tracks_its_caller() {}

macro_rules! tasks {
    ($($(#[$attribute:meta])* $visibility:vis $name:ident($($parameter:ident: $ty:ty),*) $body:block)*) => {
        $(
            $(#[$attribute])*
            #[background]
            $visibility async fn $name($($parameter: $ty),*) $body
        )*
    };
}

tasks! {
    /// Made by a macro.
    pub made(token: bgtask::ShutdownToken, number: u32) {
        assert!(number > 0 || token.is_cancelled());
    }
    made_too() {}
}

fn main() {
    let _ = || {
        routed(1);
        with_cfg(1, 2);
        with_cfg_plain(1);
        with_inner_attributes();
        drop(must_be_used());
        tracks_its_caller();
        made(1);
        made_too();
    };
}
