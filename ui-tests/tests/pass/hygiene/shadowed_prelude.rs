//! The names of the prelude have other meanings here.
#![allow(non_camel_case_types, dead_code)]

pub struct Result;
pub struct Option;
pub struct Box;
pub struct String;
pub struct Vec;
pub struct Arc;
pub trait Send {}
pub trait Sync {}
pub trait Fn {}
pub trait FnOnce {}
pub trait Future {}
pub trait Clone {}
pub trait Drop {}
pub trait Into {}
pub struct TaskHandle;
pub struct Handler;
pub struct Run;
pub struct Probe;
pub struct u32;
pub struct bool;
pub struct str;

pub fn Ok() {}
pub fn Err() {}
pub fn Some() {}
pub const None: () = ();
pub fn drop() {}

#[bgtask::background(name = "shadowed")]
pub async fn asynchronous(token: bgtask::ShutdownToken, text: String) -> Result {
    let _ = (token, text);
    Result
}

#[bgtask::background]
pub fn plain(_: String) -> Option {
    Option
}

impl Box {
    #[bgtask::background]
    pub async fn method(self: std::sync::Arc<Self>, _: Vec) -> Result {
        Result
    }
}

#[bgtask::background]
pub async fn fails() -> std::result::Result<(), std::fmt::Error> {
    std::result::Result::Ok(())
}

#[test]
fn runs() {
    crate::run(async {
        asynchronous(String).await.unwrap();
        plain(String).await.unwrap();
        std::sync::Arc::new(Box).method(Vec).await.unwrap();
        fails().await.unwrap().unwrap();
    });
}
