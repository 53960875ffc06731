//! `track_caller`, `inline`, `cold`: attributes of any function.
use bgtask::background;

#[background]
#[track_caller]
async fn tracks() {}

#[track_caller]
#[background]
fn tracks_plain() {}

#[background]
#[inline]
async fn inlined() {}

#[background]
#[inline(never)]
#[cold]
fn cold() {}

#[background]
#[rustfmt::skip]
async   fn   unformatted ( )   { }

#[test]
fn runs() {
    crate::run(async {
        for handle in [tracks(), tracks_plain(), inlined(), cold(), unformatted()] {
            handle.await.unwrap();
        }
    });
}
