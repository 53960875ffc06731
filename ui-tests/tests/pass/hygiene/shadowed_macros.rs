//! User macros with the names of macros that generated code needs.
#![allow(unused_macros)]

macro_rules! concat {
    ($($any:tt)*) => {
        compile_error!("the user's own")
    };
}
macro_rules! module_path {
    ($($any:tt)*) => {
        compile_error!("the user's own")
    };
}
macro_rules! file {
    ($($any:tt)*) => {
        compile_error!("the user's own")
    };
}
macro_rules! line {
    ($($any:tt)*) => {
        compile_error!("the user's own")
    };
}
macro_rules! panic {
    ($($any:tt)*) => {
        compile_error!("the user's own")
    };
}
macro_rules! submit {
    ($($any:tt)*) => {
        compile_error!("the user's own")
    };
}

#[bgtask::background]
async fn task(token: bgtask::ShutdownToken) -> bool {
    token.is_cancelled()
}

#[test]
fn runs() {
    crate::run(async { assert_eq!(task().await, Ok(false)) });
}
