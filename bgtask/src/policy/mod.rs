//! The options of `#[background]`, one small file each: the value an option takes and what it means.
//! Knows nothing of runtimes, registries or attributes; the supervisor reads these values and acts.

mod log;
mod on_shutdown;

pub use log::Log;
pub use on_shutdown::OnShutdown;
