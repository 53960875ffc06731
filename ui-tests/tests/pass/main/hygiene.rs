//! Names of the prelude with other meanings, and `main` within a macro.
#![allow(dead_code)]

struct Option;
fn Some() {}
const None: () = ();
mod std {}
mod core {}

macro_rules! program {
    ($token:ident $body:block) => {
        #[other_name::main(crate = "::other_name", worker_threads = 1)]
        async fn main($token: other_name::ShutdownToken) $body
    };
}
program!(run {
    assert!(!run.is_cancelled());
});

#[test]
fn runs() {
    crate::in_a_process("main::hygiene::runs", main);
}
