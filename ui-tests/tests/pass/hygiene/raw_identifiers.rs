//! Keywords as names.
use bgtask::{ShutdownToken, background};
use std::sync::Arc;

#[background]
async fn r#async(r#fn: u32, r#await: ShutdownToken) -> u32 {
    drop(r#await);
    r#fn
}

#[background]
fn r#type<r#T: Send + 'static>(r#match: r#T) -> r#T {
    r#match
}

struct Service;

impl Service {
    #[background]
    async fn r#move(self: Arc<Self>, r#ref: u32) -> u32 {
        r#ref
    }
}

mod r#mod {
    #[bgtask::background]
    pub async fn r#use() {}
}

#[test]
fn runs() {
    crate::run(async {
        assert_eq!(r#async(1).await, Ok(1));
        assert_eq!(r#type(2).await, Ok(2));
        assert_eq!(Arc::new(Service).r#move(3).await, Ok(3));
        assert!(r#mod::r#use().name().ends_with("::use"));
        assert!(r#async(1).name().ends_with("::async"));
    });
}
