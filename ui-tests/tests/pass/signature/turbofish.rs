//! A type that no argument determines.
use bgtask::background;

trait Job: Send + 'static {
    const NUMBER: u32;
}

struct Clean;

impl Job for Clean {
    const NUMBER: u32 = 7;
}

#[background]
async fn asynchronous<J: Job>() -> u32 {
    J::NUMBER
}

#[background]
fn plain<J: Job>() -> u32 {
    J::NUMBER
}

#[test]
fn runs() {
    crate::run(async {
        assert_eq!(
            (asynchronous::<Clean>().await, plain::<Clean>().await),
            (Ok(7), Ok(7))
        )
    });
}
