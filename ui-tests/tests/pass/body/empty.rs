//! Bodies with nothing in them.
use bgtask::background;

#[background]
async fn asynchronous() {}

#[background]
fn plain() {}

#[background]
async fn only_a_comment() {
    // Nothing.
}

#[background]
async fn only_a_semicolon() {}

#[test]
#[allow(redundant_semicolons)]
fn runs() {
    crate::run(async {
        for handle in [
            asynchronous(),
            plain(),
            only_a_comment(),
            only_a_semicolon(),
        ] {
            handle.await.unwrap();
        }
    });
}
