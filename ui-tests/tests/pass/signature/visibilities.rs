//! Every visibility.
use bgtask::background;

mod inner {
    use bgtask::background;

    #[background]
    pub async fn public() -> u32 {
        private().await.unwrap_or(0)
    }

    #[background]
    pub(crate) async fn of_the_crate() -> u32 {
        2
    }

    #[background]
    pub(super) async fn of_the_parent() -> u32 {
        3
    }

    #[background]
    pub(in crate::signature) async fn of_a_module() -> u32 {
        4
    }

    #[background]
    async fn private() -> u32 {
        1
    }
}

#[background]
async fn sum() -> u32 {
    let all = [
        inner::public(),
        inner::of_the_crate(),
        inner::of_the_parent(),
        inner::of_a_module(),
    ];
    let mut sum = 0;
    for handle in all {
        sum += handle.await.unwrap_or(0);
    }
    sum
}

#[test]
fn runs() {
    crate::run(async { assert_eq!(sum().await, Ok(10)) });
}
