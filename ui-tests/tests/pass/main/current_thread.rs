//! One thread, and a `main` that is not `Send`.
use std::rc::Rc;

#[bgtask::main(flavor = "current_thread", grace = "5s")]
async fn main() {
    let counted = Rc::new(1);
    tokio::task::yield_now().await;
    drop(counted);
}

#[test]
fn runs() {
    crate::in_a_process("main::current_thread::runs", main);
}
