//! `#[tracing::instrument]` below `#[background]`, on functions and on methods.

use bgtask::{ShutdownToken, background};
use bgtask_tests::{in_paused_time, on_both_flavors, record_events, recorded};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tracing::instrument;

#[derive(Debug, Default)]
struct Mailer {
    attempts: AtomicU32,
}

impl Mailer {
    #[background]
    #[instrument(skip_all, fields(to = to))]
    async fn send(self: Arc<Self>, token: ShutdownToken, to: u32) -> u32 {
        tokio::task::yield_now().await;
        tracing::info!("sends");
        u32::from(token.is_cancelled()) + to
    }

    #[background]
    #[tracing::instrument(skip(self))]
    fn pack(self: Arc<Self>, (left, right): (u32, u32)) -> u32 {
        tracing::info!("packs");
        left + right
    }

    #[background(retry(max = 3, base = "1ms"))]
    #[instrument(name = "tries", skip_all)]
    async fn send_again(self: Arc<Self>, to: u32) -> Result<u32, u32> {
        tracing::info!("sends again");
        match self.attempts.fetch_add(1, Ordering::Relaxed) {
            2 => Ok(to),
            failed => Err(failed),
        }
    }

    #[background]
    #[instrument]
    async fn makes() -> Self {
        tracing::info!("makes one");
        Self::default()
    }
}

/// Returns the names of the spans around the event, innermost first.
fn spans_around(message: &str) -> Vec<&'static str> {
    let events = recorded(|event| event.message == message);
    let event = events.first().expect("the event");
    event.spans.iter().map(|span| span.name()).collect()
}

#[test]
fn instrument_on_a_method_opens_its_span_in_that_of_the_task() {
    record_events();
    on_both_flavors(async |_| {
        let mailer = Arc::new(Mailer::default());
        assert_eq!(mailer.clone().send(1).await, Ok(1));
        assert_eq!(mailer.clone().pack((1, 2)).await, Ok(3));
        assert!(Mailer::makes().await.is_ok());
    });
    assert_eq!(spans_around("sends"), ["send", "task"]);
    assert_eq!(spans_around("packs"), ["pack", "task"]);
    assert_eq!(spans_around("makes one"), ["makes", "task"]);
    let sent = recorded(|event| event.message == "sends");
    assert_eq!(sent[0].span_field("to"), "1");
}

#[test]
fn instrument_on_a_method_sees_every_attempt() {
    record_events();
    in_paused_time(async |_| {
        let mailer = Arc::new(Mailer::default());
        assert_eq!(mailer.send_again(1).await, Ok(Ok(1)));
    });
    assert_eq!(recorded(|event| event.message == "sends again").len(), 3);
    assert_eq!(spans_around("sends again"), ["tries", "task"]);
}
