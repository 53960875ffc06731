//! Associated functions without a receiver.
use bgtask::{ShutdownToken, background};

struct Service {
    name: String,
}

impl Service {
    #[background]
    async fn start(token: ShutdownToken, number: u32) -> u32 {
        if token.is_cancelled() { 0 } else { number }
    }

    #[background]
    async fn make(name: String) -> Self {
        Self { name }
    }

    #[background]
    fn measure(of: Box<Self>) -> usize {
        of.name.len()
    }
}

#[test]
fn runs() {
    crate::run(async {
        assert_eq!(Service::start(1).await, Ok(1));
        let service = Service::make("name".into()).await.unwrap();
        assert_eq!(Service::measure(Box::new(service)).await, Ok(4));
    });
}
