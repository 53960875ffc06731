//! The functions that several tests of calls share.

use bgtask::background;

#[background]
pub(crate) async fn counts_while_running() -> u64 {
    bgtask::stats().running
}

#[background(log = "off")]
pub(crate) async fn mixed(kind: u32) -> Result<u32, String> {
    match kind % 4 {
        0 => Ok(kind),
        1 => Err("mixed".to_owned()),
        2 => panic!("mixed"),
        _ => {
            tokio::task::yield_now().await;
            Ok(kind)
        }
    }
}

#[background(log = "off", on_shutdown = "cancel")]
pub(crate) async fn until_cancelled() {
    std::future::pending::<()>().await;
}
