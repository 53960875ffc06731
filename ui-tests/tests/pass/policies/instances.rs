//! Calls of different instances of a generic function have different keys, whatever makes the instances differ.
use bgtask::background;
use std::sync::Arc;
use tokio::task::yield_now;

#[background(coalesce(key = key))]
async fn of_a_type<T: Default + Clone + Send + Sync + 'static>(key: u8) -> (u8, T) {
    yield_now().await;
    (key, T::default())
}

#[background(coalesce(key = key))]
async fn of_a_number<const N: usize>(key: u8) -> usize {
    yield_now().await;
    usize::from(key) + N
}

#[background(coalesce(key = key))]
async fn of_an_argument(key: u8, text: impl ToString + Send + 'static) -> String {
    yield_now().await;
    format!("{key}{}", text.to_string())
}

struct Service<T>(T);

impl<T: Clone + Send + Sync + 'static> Service<T> {
    #[background(coalesce(key = key))]
    async fn of_the_impl(self: Arc<Self>, key: u8) -> T {
        yield_now().await;
        let _ = key;
        self.0.clone()
    }
}

#[test]
fn runs() {
    crate::run(async {
        let calls = (of_a_type::<u8>(1), of_a_type::<String>(1));
        assert_eq!(calls.0.await, Ok((1, 0)));
        assert_eq!(calls.1.await, Ok((1, String::new())));

        let calls = (of_a_number::<1>(1), of_a_number::<2>(1));
        assert_eq!((calls.0.await, calls.1.await), (Ok(2), Ok(3)));

        let calls = (of_an_argument(1, 2_u8), of_an_argument(1, "3"));
        assert_eq!(calls.0.await, Ok("12".to_owned()));
        assert_eq!(calls.1.await, Ok("13".to_owned()));

        let calls = (
            Arc::new(Service(1_u8)).of_the_impl(1),
            Arc::new(Service("2")).of_the_impl(1),
        );
        assert_eq!(calls.0.await, Ok(1));
        assert_eq!(calls.1.await, Ok("2"));
    });
}
