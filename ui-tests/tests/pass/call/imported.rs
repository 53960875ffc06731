//! Imported, renamed, called by path; two functions of one name in two modules.
mod one {
    #[bgtask::background]
    pub async fn task() -> u32 {
        1
    }
}

mod two {
    #[bgtask::background]
    pub async fn task() -> u32 {
        2
    }

    pub mod deeper {
        pub use super::task as renamed;
    }
}

use one::task;
use two::task as other;

#[test]
fn runs() {
    crate::run(async {
        let sums = (
            task().await,
            other().await,
            two::task().await,
            two::deeper::renamed().await,
        );
        assert_eq!(sums, (Ok(1), Ok(2), Ok(2), Ok(2)));
        assert_ne!(task().name(), other().name());
    });
}
