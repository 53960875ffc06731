//! Associated functions, methods, trait implementations.
use bgtask::{ShutdownToken, TaskHandle, background};
use std::pin::Pin;
use std::sync::Arc;

struct Service {
    name: String,
}

impl Service {
    #[background]
    async fn no_receiver(number: u32) -> u32 {
        number
    }

    #[background]
    async fn makes_self(name: String) -> Self {
        Self { name }
    }

    #[background]
    fn takes_self(of: Box<Self>) -> usize {
        of.name.len()
    }

    #[background]
    async fn method(self: Arc<Self>, token: ShutdownToken, extra: String) -> std::io::Result<usize> {
        if token.is_cancelled() {
            return Ok(0);
        }
        let file = std::fs::read(&self.name)?;
        Ok(file.len() + extra.len())
    }

    #[background]
    fn plain_method(self: std::sync::Arc<Self>, (a, b): (usize, usize)) -> usize {
        self.name.len() + a + b
    }

    #[background]
    async fn pinned(self: Pin<Arc<Self>>, mut text: impl Into<String> + Send + 'static + Clone) -> String {
        text = text.clone();
        text.into()
    }

    #[background]
    async fn by_value(self) -> String {
        self.name
    }

    #[background]
    async fn again(self: Arc<Self>, left: u32) {
        if left > 0 {
            self.again(left - 1);
        }
    }
}

struct Generic<T>(T);

impl<T: Send + Sync + 'static + Clone> Generic<T> {
    #[background]
    async fn method(self: Arc<Self>) -> T {
        self.0.clone()
    }
}

trait Work {
    fn work(self: Arc<Self>, number: u32) -> TaskHandle<u32>;
}

impl Work for Service {
    #[background]
    async fn work(self: Arc<Self>, number: u32) -> u32 {
        number
    }
}

fn main() {
    let _ = |service: Arc<Service>| {
        Service::no_receiver(1);
        Service::makes_self(String::new());
        Service::takes_self(Box::new(Service { name: String::new() }));
        service.clone().method(String::new());
        service.clone().plain_method((1, 2));
        Pin::new(service.clone()).pinned("text");
        Service { name: String::new() }.by_value();
        service.clone().again(1);
        Arc::new(Generic(1)).method();
        let worked: TaskHandle<u32> = service.work(1);
        worked
    };
}
