//! Type parameters, with inline bounds and in a `where` clause.
use bgtask::background;
use std::fmt::Display;

#[background]
async fn in_place<T: Display + Send + 'static>(value: T) -> String {
    value.to_string()
}

#[background]
fn in_a_clause<K, V>(key: K, values: Vec<V>) -> (K, usize)
where
    K: Send + 'static,
    V: Send + 'static,
{
    (key, values.len())
}

#[test]
fn runs() {
    crate::run(async {
        assert_eq!(in_place(1.5).await.unwrap(), "1.5");
        assert_eq!(in_a_clause('k', vec![(), ()]).await, Ok(('k', 2)));
    });
}
