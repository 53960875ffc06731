//! Owning receivers.
use bgtask::{ShutdownToken, background};
use std::pin::Pin;
use std::sync::Arc;

struct Service {
    name: String,
}

impl Service {
    #[background]
    async fn shared(self: Arc<Self>, token: ShutdownToken, extra: String) -> usize {
        if token.is_cancelled() {
            0
        } else {
            self.name.len() + extra.len()
        }
    }

    #[background]
    fn plain(self: Arc<Self>, (a, b): (usize, usize)) -> usize {
        self.name.len() + a + b
    }

    #[background]
    async fn pinned(
        self: Pin<Arc<Self>>,
        mut text: impl Into<String> + Send + 'static + Clone,
    ) -> String {
        text = text.clone();
        text.into()
    }

    #[background]
    async fn boxed(self: Box<Self>) -> String {
        self.name
    }

    #[background]
    async fn by_value(self) -> String {
        self.name
    }

    #[background]
    async fn mutable(mut self) -> String {
        self.name.push('!');
        self.name
    }

    #[background]
    async fn mutable_box(mut self: Box<Self>) -> String {
        self.name.push('!');
        self.name
    }

    #[background]
    async fn again(self: Arc<Self>, left: u32) -> u32 {
        match left.checked_sub(1) {
            Some(less) => self.again(less).await.unwrap_or(0) + 1,
            None => 0,
        }
    }
}

#[test]
fn runs() {
    crate::run(async {
        let service = || Service {
            name: "name".into(),
        };
        let shared = Arc::new(service());
        assert_eq!(shared.clone().shared("more".into()).await, Ok(8));
        assert_eq!(shared.clone().plain((1, 2)).await, Ok(7));
        assert_eq!(
            Pin::new(shared.clone()).pinned("text").await.unwrap(),
            "text"
        );
        assert_eq!(Box::new(service()).boxed().await.unwrap(), "name");
        assert_eq!(service().by_value().await.unwrap(), "name");
        assert_eq!(service().mutable().await.unwrap(), "name!");
        assert_eq!(Box::new(service()).mutable_box().await.unwrap(), "name!");
        assert_eq!(shared.again(3).await, Ok(3));
    });
}
