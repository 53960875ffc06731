//! `tracing::instrument` on methods: below, above, with every option, generic, with policies, without a receiver.
use bgtask::{ShutdownToken, State, background};
use std::sync::Arc;
use tracing::instrument;

#[derive(Clone, Debug)]
struct Pool(u32);

#[derive(Debug)]
struct Service<T> {
    value: T,
}

impl<T: Clone + std::fmt::Debug + Send + Sync + 'static> Service<T> {
    #[background]
    #[instrument]
    async fn below(self: Arc<Self>, number: u32) -> (T, u32) {
        (self.value.clone(), number)
    }

    #[instrument(skip(self))]
    #[background]
    pub async fn above(self: Arc<Self>) -> T {
        self.value.clone()
    }

    #[background(timeout = "1m", coalesce(key = number))]
    #[tracing::instrument(skip_all, ret, name = "named")]
    pub(crate) async fn with_policies(
        self: Arc<Self>,
        token: ShutdownToken,
        State(pool): State<Pool>,
        number: u32,
    ) -> u32 {
        u32::from(token.is_cancelled()) + pool.0 + number
    }

    #[background(retry(max = 2))]
    #[instrument("first argument", skip(self), err(Debug))]
    fn blocks(self: Arc<Self>, (left, mut right): (u32, u32), _unused: String) -> Result<u32, ()> {
        right += 1;
        Ok(left + right)
    }

    #[background]
    #[instrument(fields(kind = "generic"))]
    async fn generic<U: std::fmt::Debug + Send + 'static, const N: usize>(
        self: Arc<Self>,
        values: [U; N],
    ) -> usize {
        values.len()
    }

    #[background]
    #[instrument]
    async fn by_value(self) -> T {
        self.value
    }

    #[background]
    #[instrument]
    async fn associated(value: T) -> Self {
        Self { value }
    }

    #[background]
    #[instrument]
    async fn r#fn(self: Box<Self>, depth: u32) -> u32 {
        match depth.checked_sub(1) {
            Some(depth) => self.r#fn(depth).await.unwrap() + 1,
            None => 0,
        }
    }
}

#[derive(Debug)]
struct Conditional;

impl Conditional {
    #[background]
    #[cfg(any())]
    #[instrument]
    async fn absent(self: Arc<Self>, gone: Absent) {}

    #[background]
    #[instrument]
    #[cfg(any(unix, windows))]
    #[allow(unused_variables)]
    #[expect(unused_mut)]
    #[cfg_attr(any(unix, windows), deny(dead_code))]
    async fn present(self: Arc<Self>) -> u8 {
        let mut unused = 1;
        2
    }
}

#[test]
fn runs() {
    crate::run(async {
        bgtask::provide(Pool(1));
        assert_eq!(Arc::new(Conditional).present().await, Ok(2));
        let service = Arc::new(Service { value: 'x' });
        assert_eq!(service.clone().below(1).await, Ok(('x', 1)));
        assert_eq!(service.clone().above().await, Ok('x'));
        assert_eq!(service.clone().with_policies(2).await, Ok(3));
        assert_eq!(
            service.clone().blocks((1, 2), String::new()).await,
            Ok(Ok(4))
        );
        assert_eq!(service.generic([1, 2]).await, Ok(2));
        assert_eq!(
            Service::associated(3).await.unwrap().by_value().await,
            Ok(3)
        );
        assert_eq!(Box::new(Service { value: () }).r#fn(2).await, Ok(2));
    });
}
