//! The crate under another path.
extern crate bgtask as other_name;

mod reexport {
    pub use ::bgtask as inside;
}

#[other_name::background(crate = "::other_name")]
async fn renamed(token: other_name::ShutdownToken) -> bool {
    token.is_cancelled()
}

#[reexport::inside::background(crate = "crate::reexport::inside")]
fn reexported() {}

#[reexport::inside::main(crate = "crate::reexport::inside")]
async fn main(shutdown: reexport::inside::ShutdownToken) -> Result<(), Box<dyn std::error::Error>> {
    assert!(!renamed().await?);
    reexported().await?;
    assert!(!shutdown.is_cancelled());
    Ok(())
}
