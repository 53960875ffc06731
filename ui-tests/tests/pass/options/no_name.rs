//! Without a name, the task has the function's name, with its module.
use bgtask::background;

#[background]
async fn task() {}

#[background]
async fn r#loop() {}

#[test]
fn names() {
    crate::run(async {
        assert_eq!(task().name(), "pass::options::no_name::task");
        assert_eq!(r#loop().name(), "pass::options::no_name::loop");
    });
}
