//! Functions in the implementation of a trait, and provided ones in the trait itself.
use bgtask::{TaskHandle, background};
use std::sync::Arc;

trait Work: Send + Sync + 'static {
    fn work(self: Arc<Self>, number: u32) -> TaskHandle<u32>;

    fn start(number: u32) -> TaskHandle<u32>
    where
        Self: Sized;

    #[background]
    async fn provided(self: Arc<Self>, number: u32) -> u32 {
        number + 1
    }
}

struct Service;

impl Work for Service {
    #[background]
    async fn work(self: Arc<Self>, number: u32) -> u32 {
        number
    }

    #[background]
    fn start(number: u32) -> u32 {
        number
    }
}

struct Generic<T>(T);

impl<T: Send + Sync + 'static> Work for Generic<T> {
    #[background]
    async fn work(self: Arc<Self>, number: u32) -> u32 {
        let _value: &T = &self.0;
        number * 2
    }

    #[background]
    fn start(number: u32) -> u32 {
        size_of::<T>() as u32 + number
    }
}

#[test]
fn runs() {
    crate::run(async {
        let services: [Arc<dyn Work>; 2] = [Arc::new(Service), Arc::new(Generic(1_u64))];
        let mut worked = Vec::new();
        for service in services {
            worked.push(service.clone().work(1).await.unwrap());
            worked.push(service.provided(1).await.unwrap());
        }
        assert_eq!(worked, [1, 2, 2, 2]);
        assert_eq!(Service::start(3).await, Ok(3));
        assert_eq!(Generic::<u64>::start(1).await, Ok(9));
    });
}
