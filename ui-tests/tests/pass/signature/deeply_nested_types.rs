//! Types within types.
use bgtask::background;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

type Table =
    BTreeMap<String, Vec<Option<Result<(u8, [u16; 2]), Box<dyn std::error::Error + Send + Sync>>>>>;

#[background]
#[allow(clippy::type_complexity)]
async fn task(
    table: Table,
    shared: Arc<Mutex<Option<Box<dyn FnMut(&mut Vec<u8>) -> Option<u8> + Send>>>>,
) -> Result<Option<Vec<(String, usize)>>, Arc<dyn std::error::Error + Send + Sync>> {
    drop(shared);
    Ok(Some(
        table
            .into_iter()
            .map(|(key, values)| (key, values.len()))
            .collect(),
    ))
}

#[test]
fn runs() {
    crate::run(async {
        let counted = task(
            Table::from([("a".into(), vec![None])]),
            Arc::new(Mutex::new(None)),
        )
        .await
        .unwrap()
        .unwrap();
        assert_eq!(counted, Some(vec![("a".to_owned(), 1)]));
    });
}
