//! `impl Trait` in arguments, also within other types and beside type parameters.
use bgtask::background;

#[background]
async fn asynchronous(
    name: impl Into<String> + Send + 'static,
    each: impl Fn(&str) -> usize + Send + 'static,
) -> usize {
    each(&name.into())
}

#[background]
fn within(all: Vec<impl ToString + Send + 'static>) -> String {
    all.iter().map(ToString::to_string).collect()
}

#[background]
async fn a_future(work: impl Future<Output = u32> + Send + 'static) -> u32 {
    work.await
}

#[test]
fn runs() {
    crate::run(async {
        assert_eq!(asynchronous("name", |name: &str| name.len()).await, Ok(4));
        assert_eq!(within(vec![1, 2]).await.unwrap(), "12");
        assert_eq!(a_future(async { 3 }).await, Ok(3));
    });
}
