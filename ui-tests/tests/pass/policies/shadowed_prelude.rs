//! The names of the prelude and of the attribute have other meanings where policies are used.
#![allow(non_camel_case_types, dead_code)]

pub struct Result;
pub struct Option;
pub struct Box;
pub struct String;
pub trait Send {}
pub trait Sync {}
pub trait Clone {}
pub trait Default {
    fn default() {}
}
impl<T> Default for T {}
pub struct Policies;
pub struct Keys;
pub struct Attempts;
pub struct ShareProbe;
pub struct Duration;
pub struct u32;
pub struct u64;
pub struct usize;

pub fn Ok() {}
pub fn Err() {}
pub fn Some() {}
pub const None: () = ();
pub fn drop() {}
pub fn key() {}
pub fn cloned() {}

#[bgtask::background(
    timeout = "30s",
    retry(max = 2, panics),
    concurrency(max = 1, queue = 1, key = *number),
    rate(limit = "100/s", key = *number),
    coalesce(key = *number)
)]
pub async fn asynchronous(token: bgtask::ShutdownToken, number: u8) -> u8 {
    let _ = token;
    number
}

#[bgtask::background(timeout = "30s", concurrency = 1)]
pub fn plain(_: String) -> Option {
    Option
}

#[test]
fn runs() {
    crate::run(async {
        asynchronous(1).await.unwrap();
        plain(String).await.unwrap();
    });
}
