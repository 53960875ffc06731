//! The programs that several tests start.

pub(crate) const SERVICE: &str = env!("CARGO_BIN_EXE_service");

pub(crate) const HARD_TO_EXIT: &str = env!("CARGO_BIN_EXE_hard_to_exit");

pub(crate) const SCHEDULED: &str = env!("CARGO_BIN_EXE_scheduled");
