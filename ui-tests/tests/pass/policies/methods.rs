//! Methods with `retry`: every owning receiver, and every use of it in the body.
use bgtask::{ShutdownToken, State, background};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

struct Service<T> {
    attempts: AtomicU32,
    value: T,
}

impl<T: Clone + Send + Sync + 'static> Service<T> {
    fn new(value: T) -> Arc<Self> {
        let attempts = AtomicU32::new(0);
        Arc::new(Self { attempts, value })
    }

    fn attempt(&self) -> Result<u32, u32> {
        match self.attempts.fetch_add(1, Relaxed) {
            attempt @ 0..2 => Err(attempt),
            attempt => Ok(attempt),
        }
    }

    #[background(retry(max = 3, base = "1ms", when = |_| true), timeout = "1m", rate(limit = "9/s", key = key))]
    async fn asynchronous<U: Clone + Send + 'static>(
        self: Arc<Self>,
        State(factor): State<u32>,
        (key, mut attempt): (u8, u32),
        own: U,
        work: impl Fn() -> u32 + Clone + Send + Sync + 'static,
        token: ShutdownToken,
        #[cfg(any())] gone: Nothing,
    ) -> Result<(T, U, u32), u32> {
        struct Inner(u32);
        impl Inner {
            fn get(&self) -> u32 {
                self.0
            }
        }
        attempt += Inner(self.attempt()?).get() * factor + work() + u32::from(key);
        assert!(!token.is_cancelled(), "{:?}", self.attempts);
        Ok((self.value.clone(), own, attempt))
    }

    #[background(retry(max = 3, base = "1ms"))]
    fn plain(self: Arc<Self>, stop: ShutdownToken) -> Result<T, u32> {
        self.attempt()?;
        drop(stop);
        match Arc::try_unwrap(self) {
            Ok(_) => Err(0),
            Err(own) => Ok(own.value.clone()),
        }
    }

    #[background(retry(panics), log = "off")]
    async fn names_nothing_of_its_own(self: Arc<Self>) {}
}

#[derive(Clone, Default)]
struct Order {
    attempts: Arc<AtomicU32>,
    left: Option<String>,
}

impl Order {
    #[background(retry(max = 2, base = "1ms"))]
    async fn by_value(mut self) -> Result<String, u32> {
        let left = self.left.take();
        match self.attempts.fetch_add(1, Relaxed) {
            0 => Err(0),
            _ => left.ok_or(1),
        }
    }

    #[background(retry(max = 2, base = "1ms"))]
    fn boxed(self: Box<Self>, more: String) -> Result<String, u32> {
        match self.attempts.fetch_add(1, Relaxed) {
            0 => Err(0),
            _ => self.left.map(|left| left + &more).ok_or(1),
        }
    }
}

#[test]
fn runs() {
    crate::run(async {
        bgtask::provide(10_u32);
        let service = Service::new("a");
        let output = service.asynchronous((1, 2), 'b', || 3).await;
        assert_eq!(output, Ok(Ok(("a", 'b', 26))));
        assert_eq!(Service::new(1_u8).plain().await, Ok(Ok(1)));
        assert_eq!(Service::new(1_u8).names_nothing_of_its_own().await, Ok(()));

        let order = || Order {
            left: Some("left".to_owned()),
            ..Order::default()
        };
        assert_eq!(order().by_value().await, Ok(Ok("left".to_owned())));
        let boxed = Box::new(order()).boxed("over".to_owned()).await;
        assert_eq!(boxed, Ok(Ok("leftover".to_owned())));
    });
}
