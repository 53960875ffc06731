//! The location of a call is the caller's, for functions and methods.
use bgtask::{ShutdownToken, background};
use std::sync::Arc;

struct Service;

impl Service {
    #[background]
    async fn method(self: Arc<Self>, token: ShutdownToken) {
        token.cancelled().await;
    }
}

#[background]
async fn function(token: ShutdownToken) {
    token.cancelled().await;
}

#[test]
fn names() {
    crate::run(async {
        let first = line!() + 1;
        function();
        Arc::new(Service).method();
        let mut lines: Vec<_> = bgtask::tasks()
            .iter()
            .map(|task| task.called_at.line())
            .collect();
        lines.sort_unstable();
        assert_eq!(lines, [first, first + 1]);
    });
}
