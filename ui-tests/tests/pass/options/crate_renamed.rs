//! The crate under another name.
#[other_name::background(crate = "::other_name")]
async fn renamed(token: other_name::ShutdownToken) -> bool {
    token.is_cancelled()
}

#[other_name::background(crate = "::other_name")]
fn plain() {}

#[test]
fn runs() {
    crate::run(async {
        assert_eq!(renamed().await, Ok(false));
        plain().await.unwrap();
    });
}
