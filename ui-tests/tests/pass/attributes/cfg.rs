//! `cfg` on the function, on a parameter, in the body; `cfg_attr`.
use bgtask::background;

#[background]
#[cfg(any())]
async fn task(this: DoesNotExist) {}

#[cfg(any())]
#[background]
async fn task(nor: DoesThis) {}

#[background]
#[cfg(not(any()))]
async fn task() -> u32 {
    #[cfg(any())]
    return 1;
    #[cfg(not(any()))]
    return 2;
}

#[background]
async fn on_parameters(
    #[cfg(not(any()))] kept: u32,
    #[cfg(any())] gone: DoesNotExist,
    last: u32,
) -> u32 {
    kept + last
}

#[background]
fn on_parameters_plain(#[cfg(any())] gone: DoesNotExist, mut last: u32) -> u32 {
    last += 1;
    last
}

#[background]
#[cfg_attr(all(), allow(unused_variables))]
#[cfg_attr(any(), does_not_exist)]
#[cfg_attr(all(), doc = "Documented.", must_use)]
async fn attributes(unused: u32) {}

#[test]
#[allow(clippy::needless_return)]
fn runs() {
    crate::run(async {
        assert_eq!(task().await, Ok(2));
        assert_eq!(on_parameters(1, 2).await, Ok(3));
        assert_eq!(on_parameters_plain(1).await, Ok(2));
        drop(attributes(1));
    });
}
