use bgtask::TaskHandle;
use std::sync::Arc;

trait Work {
    fn work(self: Arc<Self>, number: u32) -> u32;
    fn start() -> TaskHandle<u32>;
}

struct Service;

impl Work for Service {
    #[bgtask::background]
    async fn work(self: Arc<Self>, number: u32) -> u32 {
        number
    }

    #[bgtask::background]
    async fn start(number: u32) -> u32 {
        number
    }
}

fn main() {}
