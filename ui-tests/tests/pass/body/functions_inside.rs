//! Functions inside functions, annotated ones and others.
use bgtask::background;

#[background]
async fn outer(number: u32) -> u32 {
    fn double(number: u32) -> u32 {
        number * 2
    }

    #[background]
    async fn inner(number: u32) -> u32 {
        #[background]
        fn innermost(number: u32) -> u32 {
            number + 1
        }
        innermost(number).await.unwrap_or(0)
    }

    inner(double(number)).await.unwrap_or(0)
}

#[test]
fn runs() {
    #[background]
    async fn inside_a_test() -> u32 {
        7
    }
    crate::run(async {
        assert_eq!(outer(2).await, Ok(5));
        assert_eq!(inside_a_test().await, Ok(7));
    });
}
