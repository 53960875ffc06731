//! Every level.
use bgtask::background;

#[background(log = "off")]
async fn off() {}

#[background(log = "trace")]
async fn trace() {}

#[background(log = "debug")]
async fn debug() {}

#[background(log = "info")]
async fn info() {}

#[background(log = "warn")]
async fn warn() {}

#[background(log = "error")]
fn error() {}

#[test]
fn runs() {
    crate::run(async {
        for handle in [off(), trace(), debug(), info(), warn(), error()] {
            handle.await.unwrap();
        }
    });
}
