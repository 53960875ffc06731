//! The crate re-exported by another one, as a framework does it.
mod framework {
    pub use ::bgtask as tasks;
    pub use ::bgtask::background;
}

#[framework::background(crate = "crate::options::crate_reexported::framework::tasks")]
async fn task(token: framework::tasks::ShutdownToken) -> bool {
    token.is_cancelled()
}

macro_rules! task {
    ($name:ident) => {
        #[$crate::options::crate_reexported::framework::background(
            crate = "crate::options::crate_reexported::framework::tasks"
        )]
        fn $name() {}
    };
}
task!(made);

#[test]
fn runs() {
    crate::run(async {
        assert_eq!(task().await, Ok(false));
        made().await.unwrap();
    });
}
