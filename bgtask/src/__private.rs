//! The items that generated code names. Not public API: any release may change them.

pub use crate::block::{
    BlockProbe, BlockingProbe, call_0, call_1, call_2, call_3, call_4, call_5, call_6, held,
    may_fail, retry_block_always, retry_block_when, run_blocking, run_blocking_again,
    run_blocking_in, run_blocking_in_state, run_blocking_with, run_blocking_with_token, run_future,
    run_future_with, run_in, run_made, run_made_with_token, run_making, run_making_again,
    run_making_in_state, run_making_with, run_making_with_token, share_of,
};
pub use crate::call::launch::{
    Run, begin, begin_at, launch, launch_blocking, launch_blocking_recorded, launch_recorded,
};
pub use crate::call::pipeline::{
    Attempts, Call, Keys, begin_with, begin_with_at, launch_recorded_with, launch_with,
};
pub use crate::call::site::{CallSite, injected, resolve};
#[cfg(feature = "durable")]
pub use crate::durable::{
    Arguments, Encoder, Enqueue, JobOutput, JobProbe, OtherType, Outcome, ResultCodec, ValueCodec,
    enqueue, job_parameter, running,
};
pub use crate::entry::signal::dump::DumpSignal;
pub use crate::entry::{Flavor, MainConfig, run_function, run_main};
pub use crate::fields::{FieldSpec, FieldValue, FieldWriter, Fields, SpanOf, new_span, record};
pub use crate::handler::{Handler, HandlerSpec, Kind, Registered};
pub use crate::handler::{Log, OnShutdown, WarnAfter, constant};
pub use crate::policy::{
    Backoff, Coalesce, Concurrency, Copied, Ending, Key, Missed, NextAttempt, Origin, Overflow,
    Policies, Rate, RateLimit, Restart, Retry, RetryWhen, Schedule, Shape, Share, ShareProbe,
    Timezone, Trigger, cloned, key, retry_when,
};
#[cfg(feature = "durable")]
pub use crate::policy::{Claimed, Durable, Running, Undecodable, Uniqueness};
pub use crate::state::{Injected, StateSpec};
pub use crate::task::judge::Probe;
pub use crate::testing::attribute::{TestConfig, run_test};
pub use crate::{ShutdownToken, TaskHandle};
pub use bgtask_macros::spawn;
pub use inventory;
#[cfg(feature = "durable")]
pub use serde_json::value::RawValue;
pub use tokio;
pub use tracing;

/// Stands for a value where generated code needs only its type. Never called.
pub fn returned<T>() -> T {
    unreachable!("this only gives the compiler a type")
}

/// Returns the path of a block, which has no function to take a path from: an empty one.
pub fn no_path() -> &'static str {
    ""
}

/// The zones of `timezone = "…"`.
#[cfg(feature = "cron")]
pub use chrono_tz as timezones;
