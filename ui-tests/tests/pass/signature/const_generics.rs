//! Constant parameters.
use bgtask::background;

#[background]
async fn sum<const N: usize>(values: [u32; N]) -> u32 {
    values.iter().sum()
}

#[background]
fn told_by_turbofish<const FLAG: bool, const N: usize>() -> (bool, usize) {
    (FLAG, N)
}

#[test]
fn runs() {
    crate::run(async {
        assert_eq!(sum([1, 2, 3]).await, Ok(6));
        assert_eq!(told_by_turbofish::<true, 7>().await, Ok((true, 7)));
    });
}
