//! Arguments are coerced and inferred as those of any function.
use bgtask::background;
use std::fmt::Debug;
use std::sync::Arc;

#[background]
async fn task(
    text: String,
    all: Vec<Box<dyn Debug + Send>>,
    call: Arc<dyn Fn(u8) -> u8 + Send + Sync>,
) -> u8 {
    call(text.parse().unwrap_or(0)) + all.len() as u8
}

#[background]
fn inferred(numbers: Vec<u64>) -> Option<u64> {
    numbers.into_iter().max()
}

#[test]
fn runs() {
    crate::run(async {
        assert_eq!(
            task(
                "7".into(),
                vec![Box::new(1), Box::new("two")],
                Arc::new(|number| number + 1)
            )
            .await,
            Ok(10)
        );
        assert_eq!(inferred(vec![1, 3, 2]).await, Ok(Some(3)));
        assert_eq!(
            inferred((0_u8..3).map(Into::into).collect::<Vec<u64>>()).await,
            Ok(Some(2))
        );
    });
}
