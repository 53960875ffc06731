//! Several options in any order, with a comma at the end.
use bgtask::background;

#[background(on_shutdown = "finish", log = "info", name = "several")]
async fn task() {}

#[background(crate = "::bgtask", name = "on lines of their own")]
async fn on_lines() {}

#[test]
fn names() {
    crate::run(async {
        assert_eq!(
            (task().name(), on_lines().name()),
            ("several", "on lines of their own")
        )
    });
}
