//! A name is any const expression.
use bgtask::spawn;

const NAME: &str = "a const";

struct Names;

impl Names {
    const SYNC: &str = "an associated const";
}

mod names {
    pub const fn sync() -> &'static str {
        "a const fn"
    }
}

#[test]
fn runs() {
    crate::run(async {
        assert_eq!(spawn!(NAME, async {}).name(), "a const");
        assert_eq!(spawn!(Names::SYNC, async {}).name(), "an associated const");
        assert_eq!(spawn!(names::sync(), async {}).name(), "a const fn");
        assert_eq!(
            spawn!(concat!("put ", "together"), async {}).name(),
            "put together"
        );
        assert_eq!(
            spawn!(concat!(module_path!(), "::here"), || ()).name(),
            "pass::spawn::names::here"
        );
        assert_eq!(spawn!(r"raw", async {}).name(), "raw");
        assert_eq!(spawn!({ "a block" }, async {}).name(), "a block");
    });
}
