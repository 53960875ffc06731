//! With the token, under any name.
use bgtask::ShutdownToken;

#[bgtask::main]
async fn main(stop: ShutdownToken) {
    assert!(!stop.is_cancelled());
    bgtask::request_shutdown("enough");
    stop.cancelled().await;
}

#[test]
fn runs() {
    crate::in_a_process("main::token::runs", main);
}
