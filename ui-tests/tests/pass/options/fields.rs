//! Fields in every form, of every kind of function, under names that the attribute generates.
use bgtask::{Attempt, ShutdownToken, State, background};
use std::fmt::Debug;
use std::sync::Arc;

#[background(fields(
    to,
    fields = to + record,
    span = %span,
    ?run,
    r#type,
    self_like.r#type = r#type.len(),
    literal = "text",
    constant = u8::MAX,
    block = { let twice = *to; twice * 2 },
    closure = (|| *to)(),
    conditional = if *record > 1 { "many" } else { "one" },
    none = None::<u8>,
    hidden = redact(span),
    mine = (redact)(*to),
))]
async fn names(
    to: u8,
    record: u8,
    span: String,
    run: Option<u8>,
    r#type: &'static str,
    token: ShutdownToken,
) -> usize {
    drop((token, run));
    usize::from(to + record) + span.len() + r#type.len()
}

fn redact(number: u8) -> u8 {
    number
}

#[background(fields(number), timeout = "1m", retry(max = 2))]
fn plain(number: u8, state: State<u8>) -> Result<u8, ()> {
    Ok(number + state.0)
}

#[background(fields(value = ?value, N))]
async fn generic<T: Debug + Send + 'static, const N: usize>(value: [T; N]) -> usize {
    value.len()
}

struct Shop(&'static str);

impl Shop {
    #[background(fields(shop = self.0, key))]
    #[allow(clippy::missing_const_for_fn)]
    async fn method(self: Arc<Self>, key: u8) -> usize {
        self.0.len() + usize::from(key)
    }

    #[background(fields(shop = Self::NAME, %_unused))]
    async fn associated(_unused: u8) -> usize {
        Self::NAME.len()
    }

    const NAME: &'static str = "shop";
}

#[background(every = "1h", fields(zone = zone()))]
async fn scheduled() {}

fn zone() -> &'static str {
    "eu"
}

mod inner {
    pub(super) async fn around(attempt: bgtask::Attempt) {
        attempt.await;
    }
}

async fn with_text(attempt: Attempt) {
    assert!(attempt.fields().get("number").is_some());
    attempt.await;
}

#[background(wrap = with_text, fields(number))]
async fn wrapped(number: u8) -> u8 {
    number
}

#[background(wrap = inner::around)]
fn wrapped_plainly(number: u8) -> u8 {
    number
}

#[background(wrap = |attempt| async { attempt.await; })]
async fn wrapped_by_a_closure(number: u8) -> u8 {
    number
}

#[test]
fn runs() {
    crate::run(async {
        bgtask::provide(1_u8);
        assert_eq!(names(1, 2, "span".into(), None, "kind").await, Ok(11));
        assert_eq!(plain(1).await, Ok(Ok(2)));
        assert_eq!(generic([1, 2]).await, Ok(2));
        assert_eq!(Arc::new(Shop("a")).method(1).await, Ok(2));
        assert_eq!(Shop::associated(1).await, Ok(4));
        scheduled().await.unwrap();
        assert_eq!(wrapped(1).await, Ok(1));
        assert_eq!(wrapped_plainly(1).await, Ok(1));
        assert_eq!(wrapped_by_a_closure(1).await, Ok(1));
    });
}
