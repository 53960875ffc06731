//! Lint levels apply to the body and warn at the user's code.
#![deny(unused_variables, unused_mut, clippy::all)]
use bgtask::background;

#[background]
#[allow(unused_variables)]
async fn below(unused: u32) {}

#[allow(unused_variables)]
#[background]
async fn above(unused: u32) {}

#[background]
async fn on_a_parameter(#[allow(unused_variables)] unused: u32) {}

#[background]
async fn on_a_statement() {
    #[allow(unused_mut)]
    let mut number = 1;
    drop(vec![number]);
}

#[background]
#[expect(unused_variables, reason = "it is what the test is about")]
async fn expected(unused: u32) {}

#[background]
#[expect(clippy::too_many_arguments, reason = "the lint is about the function")]
async fn many(_: u8, _: u8, _: u8, _: u8, _: u8, _: u8, _: u8, _: u8) {}

#[background]
#[expect(dead_code, reason = "nobody calls it")]
async fn dead() {}

#[test]
fn runs() {
    crate::run(async {
        below(1);
        above(1);
        on_a_parameter(1);
        on_a_statement();
        expected(1);
        many(1, 2, 3, 4, 5, 6, 7, 8);
    });
}
