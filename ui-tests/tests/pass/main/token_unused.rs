//! An unused token.
#[bgtask::main]
async fn main(_: bgtask::ShutdownToken) {}

#[test]
fn runs() {
    crate::in_a_process("main::token_unused::runs", main);
}
