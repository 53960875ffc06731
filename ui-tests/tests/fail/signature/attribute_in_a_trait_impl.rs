use bgtask::TaskHandle;
use std::sync::Arc;

trait Sends {
    fn send(self: Arc<Self>) -> TaskHandle<()>;
}

struct Mailer;

impl Sends for Mailer {
    #[bgtask::background]
    #[tracing::instrument(skip_all)]
    async fn send(self: Arc<Self>) {}
}

fn main() {
    Arc::new(Mailer).send();
}
