use std::sync::Arc;

struct Service;

impl Service {
    #[bgtask::background]
    async fn task(self: Arc<Self>) -> u32 {
        "text"
    }

    #[bgtask::background]
    fn plain(self: Arc<Self>) -> u32 {
        "text"
    }
}

fn main() {}
