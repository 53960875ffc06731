//! Background work the process knows about.
#![doc(test(attr(deny(warnings), allow(dead_code, unused_variables))))]

#[doc(hidden)]
pub mod __private;
mod classify;
mod context;
mod discovery;
mod entry;
mod error;
mod handle;
mod handler;
mod hooks;
mod launch;
mod ledger;
mod manager;
mod notice;
mod panic_site;
mod policy;
mod report;
mod shared;
mod shutdown;
mod signal;
mod stats;
mod supervise;
mod token;

pub use bgtask_macros::{background, main};
pub use error::{InstallError, RefusedReason, SourceLocation, TaskError};
pub use handle::TaskHandle;
pub use handler::{Handler, Kind, handlers};
pub use hooks::{FailedTask, FinishedTask, PanickedTask};
pub use manager::{
    Builder, DEFAULT_GRACE, Entered, Manager, is_shutting_down, on_error, on_finish, on_panic,
    request_shutdown, set_grace, stats, tasks,
};
pub use policy::{Log, OnShutdown};
pub use report::{Failure, ShutdownReason, ShutdownReport, Signal, Straggler};
pub use stats::{Outcome, Stats, TaskId, TaskInfo, TaskState};
pub use token::{Cancelled, ShutdownToken, shutdown_token};
