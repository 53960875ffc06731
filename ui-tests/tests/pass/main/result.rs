//! A result, and `?` on a handle.
use bgtask::ShutdownToken;

#[bgtask::background]
async fn task(number: u32) -> Result<u32, std::num::TryFromIntError> {
    u8::try_from(number).map(u32::from)
}

#[bgtask::main]
async fn main(shutdown: ShutdownToken) -> Result<(), Box<dyn std::error::Error>> {
    if shutdown.is_cancelled() {
        return Err("too early".into());
    }
    assert_eq!(task(7).await??, 7);
    Ok(())
}

#[test]
fn runs() {
    crate::in_a_process("main::result::runs", main);
}
