//! Attributes and documentation of `main`, above, below and inside.
/// Documented.
#[allow(unused_variables)]
#[bgtask::main()]
#[tracing::instrument]
#[expect(unused_mut)]
async fn main() {
    #![allow(unused_assignments)]
    let mut unused = 1;
}

#[test]
fn runs() {
    crate::in_a_process("main::attributes::runs", main);
}
