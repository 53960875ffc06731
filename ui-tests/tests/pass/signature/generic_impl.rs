//! Functions in a generic `impl`, with and without a receiver.
use bgtask::background;
use std::sync::Arc;

struct Queue<T, const N: usize>([T; N]);

impl<T: Clone + Send + Sync + 'static, const N: usize> Queue<T, N> {
    #[background]
    async fn first(self: Arc<Self>) -> Option<T> {
        self.0.first().cloned()
    }

    #[background]
    async fn echo(value: T) -> T {
        value
    }

    #[background]
    fn capacity() -> usize {
        N
    }

    #[background]
    async fn with_its_own<U: Send + 'static>(value: T, other: U) -> (T, U) {
        (value, other)
    }
}

struct Keyed<Key>(Key);

impl<Key: Send + 'static> Keyed<Key> {
    /// A parameter in disguise: `Self` names it.
    #[background]
    async fn named(key: Key) -> Key
    where
        Self: Sized,
    {
        Keyed(key).0
    }
}

#[test]
fn runs() {
    crate::run(async {
        assert_eq!(Arc::new(Queue([1, 2])).first().await, Ok(Some(1)));
        assert_eq!(Queue::<_, 2>::echo("text").await, Ok("text"));
        assert_eq!(Queue::<u8, 5>::capacity().await, Ok(5));
        assert_eq!(Queue::<_, 1>::with_its_own(1, 'c').await, Ok((1, 'c')));
        assert_eq!(Keyed::named(3).await, Ok(3));
    });
}
