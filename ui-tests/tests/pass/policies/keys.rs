//! Keys of every shape. They see the parameters by reference, whatever the parameters' patterns.
use bgtask::background;
use std::sync::Arc;

#[background(coalesce(key = name))]
async fn a_name(name: String, other: u32) -> u32 {
    drop(name);
    other
}

#[background(rate(limit = "100/s", key = (left, name.len(), &*name)))]
fn of_patterns((left, mut right): (u32, u32), ref name: String, [_, ..]: [u8; 3]) -> u32 {
    right += left;
    drop(name.clone());
    right
}

#[background(concurrency(max = 2, key = { let half = *number / 2; half }))]
async fn a_block(number: u64) -> u64 {
    number
}

#[background(coalesce(key = match name { Some(name) => name.as_str(), None => "" }), concurrency(max = 2, key = 7))]
async fn a_match(name: Option<String>) -> usize {
    name.map_or(0, |name| name.len())
}

#[background(coalesce(key = format!("{number}/{}", N)))]
async fn generic<T: std::fmt::Display + Send + 'static, const N: usize>(number: T) -> String {
    format!("{number} of {N}")
}

#[background(coalesce(key = number))]
async fn may_be_gone(
    number: u8,
    #[cfg(any())] gone: Absent,
    #[cfg(any(test, not(test)))] there: u8,
) -> u8 {
    number + there
}

struct Service(u64);

impl Service {
    #[background(rate(limit = "100/s", key = (self.0, name)), concurrency(max = 1, key = self.key()))]
    async fn method(self: Arc<Self>, name: String) -> usize {
        name.len()
    }

    fn key(&self) -> u64 {
        self.0
    }
}

#[test]
fn runs() {
    crate::run(async {
        assert_eq!(a_name("a".into(), 3).await, Ok(3));
        assert_eq!(of_patterns((1, 2), "a".into(), [0; 3]).await, Ok(3));
        assert_eq!(a_block(3).await, Ok(3));
        assert_eq!(a_match(Some("abc".into())).await, Ok(3));
        assert_eq!(generic::<u8, 2>(1).await, Ok("1 of 2".to_owned()));
        assert_eq!(may_be_gone(1, 2).await, Ok(3));
        assert_eq!(Arc::new(Service(1)).method("abc".into()).await, Ok(3));
    });
}
