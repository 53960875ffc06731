//! The crate under another name, and from within another one.
mod framework {
    pub use ::bgtask as tasks;
    pub use ::bgtask::spawn as start;

    macro_rules! framework_starts {
        ($name:literal, $($work:tt)*) => {
            $crate::spawn::renamed::framework::tasks::spawn!($name, timeout = "1m", $($work)*)
        };
    }
    pub(crate) use framework_starts;
}

#[test]
fn runs() {
    // Works under any name of the crate.
    mod bgtask {}
    crate::run(async {
        assert_eq!(other_name::spawn!("renamed", async { 1 }).await, Ok(1));
        assert_eq!(
            framework::tasks::spawn!("within another", async { 2 }).await,
            Ok(2)
        );
        assert_eq!(framework::start!("by another name", || 3).await, Ok(3));
        assert_eq!(
            framework::framework_starts!(
                "by a macro",
                move |token| async move { token.is_cancelled() }
            )
            .await,
            Ok(false)
        );
    });
}
