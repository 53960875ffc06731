//! No token, no output.
#[bgtask::background]
async fn task() {}

#[bgtask::main]
async fn main() {
    task();
}

#[test]
fn runs() {
    crate::in_a_process("main::nothing::runs", main);
}
