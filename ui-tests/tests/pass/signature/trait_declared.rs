//! A trait that declares background functions: with a default, and with a body in each `impl`.
use bgtask::{TaskHandle, background};
use std::sync::Arc;

trait Sends: Send + Sync + 'static {
    fn send(self: Arc<Self>, to: u32) -> TaskHandle<u32>;

    #[background]
    async fn send_twice(self: Arc<Self>, to: u32) -> u32 {
        self.clone().send(to).await.unwrap() + self.send(to).await.unwrap()
    }
}

struct Mailer;

impl Sends for Mailer {
    #[background]
    async fn send(self: Arc<Self>, to: u32) -> u32 {
        to
    }
}

struct Post;

impl Sends for Post {
    #[background]
    fn send(self: Arc<Self>, to: u32) -> u32 {
        to + 1
    }

    fn send_twice(self: Arc<Self>, to: u32) -> TaskHandle<u32> {
        self.send(to)
    }
}

#[test]
fn runs() {
    crate::run(async {
        let all: [Arc<dyn Sends>; 1] = [Arc::new(Post)];
        for sender in all {
            assert_eq!(sender.send_twice(1).await, Ok(2));
        }
        assert_eq!(Arc::new(Mailer).send_twice(1).await, Ok(2));
    });
}
