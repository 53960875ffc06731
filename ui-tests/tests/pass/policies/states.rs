//! States, destructured or not, at any position. A call without its state is refused.
use bgtask::{ShutdownToken, State, background};
use std::sync::Arc;

#[derive(Clone)]
struct Client(u32);

#[background]
async fn taken_apart(
    number: u32,
    State(client): State<Client>,
    token: ShutdownToken,
    state: State<String>,
) -> u32 {
    drop((token, state));
    client.0 + number
}

#[background]
fn plain(State(mut client): State<Client>, #[cfg(any())] State(gone): State<Absent>) -> u32 {
    client.0 += 1;
    client.0
}

#[background(retry)]
async fn again(State(client): State<Client>) -> Result<u32, String> {
    Ok(client.0)
}

#[background]
async fn generic<T: Clone + Send + Sync + 'static>(State(state): State<T>) -> T {
    state
}

struct Service(u32);

impl Service {
    #[background]
    async fn method(self: Arc<Self>, _unused: State<Client>, number: u32) -> u32 {
        self.0 + number
    }
}

#[background]
async fn missing(State(_): State<u128>) {}

#[test]
fn runs() {
    crate::run(async {
        bgtask::provide(Client(1));
        bgtask::provide(String::new());
        assert_eq!(taken_apart(1).await, Ok(2));
        assert_eq!(plain().await, Ok(2));
        assert_eq!(again().await, Ok(Ok(1)));
        assert_eq!(generic::<String>().await, Ok(String::new()));
        assert_eq!(Arc::new(Service(1)).method(2).await, Ok(3));
        assert!(missing().await.is_err());
    });
}
