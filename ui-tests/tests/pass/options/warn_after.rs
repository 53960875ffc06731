//! A time or `never`, with and without policies. A function that logs nothing needs no `never`.
use bgtask::{WarnAfter, background};
use std::time::Duration;

#[background(warn_after = "1m30s")]
async fn timed() {}

#[background(warn_after = "never", log = "off")]
fn untimed() {}

#[background(warn_after = "500ms", concurrency = 1)]
async fn with_a_policy() {}

struct Mailer;

impl Mailer {
    #[background(name = "warned of", warn_after = "1s")]
    async fn send(self: std::sync::Arc<Self>) {}
}

#[test]
fn is_in_the_list() {
    crate::run(async {
        timed();
        untimed();
        with_a_policy();
        std::sync::Arc::new(Mailer).send();
    });
    let after = |name: &str| {
        let handlers = bgtask::handlers();
        let handler = handlers
            .iter()
            .find(|handler| handler.name().ends_with(name));
        handler.expect("it is linked").warn_after()
    };
    let limit = |milliseconds| WarnAfter::After(Duration::from_millis(milliseconds));
    assert_eq!(after("warn_after::timed"), limit(90_000));
    assert_eq!(after("warn_after::untimed"), WarnAfter::Never);
    assert_eq!(after("warn_after::with_a_policy"), limit(500));
    assert_eq!(after("warned of"), limit(1_000));
}
