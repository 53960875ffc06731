use bgtask::{ShutdownToken, State, background};

#[background(every = "5m")]
async fn with_a_parameter(token: ShutdownToken, State(_): State<u32>, key: String) {
    drop((token, key))
}

#[background(on_start)]
async fn with_a_pattern((_, _): (u32, u32)) {}

#[background(on_start)]
async fn generic<T: Send + 'static>() {}

struct Service;

impl Service {
    #[background(every = "5m")]
    async fn method(self: std::sync::Arc<Self>) {}

    #[background(every = "5m")]
    async fn names_self() -> Option<Self> {
        None
    }
}

fn main() {
    with_a_parameter(String::new());
}
