//! Outputs of many types.
use bgtask::background;
use std::sync::Arc;

type Alias<T> = Result<T, std::fmt::Error>;

#[background]
async fn nothing() {}

#[background]
async fn unit() -> () {}

#[background]
async fn tuple() -> (u8, String) {
    (1, "one".into())
}

#[background]
async fn option() -> Option<Vec<u8>> {
    None
}

#[background]
async fn alias() -> Alias<u8> {
    Ok(1)
}

#[background]
async fn boxed_error() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    Err("wrong".into())
}

#[background]
async fn error_without_debug() -> Result<u8, NoDebug> {
    Err(NoDebug)
}

#[background]
async fn shared() -> Arc<dyn Fn() -> u32 + Send + Sync> {
    Arc::new(|| 3)
}

#[background]
fn closure() -> Box<dyn FnOnce(&str) -> usize + Send> {
    Box::new(str::len)
}

struct NoDebug;

#[test]
#[allow(clippy::let_unit_value)]
fn runs() {
    crate::run(async {
        let () = nothing().await.unwrap();
        let () = unit().await.unwrap();
        assert_eq!(tuple().await.unwrap().1, "one");
        assert_eq!(option().await, Ok(None));
        assert_eq!(alias().await.unwrap(), Ok(1));
        assert!(boxed_error().await.unwrap().is_err());
        assert!(error_without_debug().await.unwrap().is_err());
        assert_eq!(shared().await.unwrap()(), 3);
        assert_eq!(closure().await.unwrap()("four"), 4);
    });
}
