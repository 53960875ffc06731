//! The options of `#[background]` that act on calls, one file each: its value, its text, and the code that enforces it.
//! The pipeline composes the policies around a body, in one fixed order. Must never know tasks, the tracker or runtimes.

mod backoff;
mod cancel;
mod coalesce;
mod concurrency;
#[cfg(feature = "durable")]
mod durable;
mod key;
mod keyed;
mod later;
mod missed;
mod policies;
mod postponed;
mod progress;
mod rate;
mod registry;
mod rejected;
mod restart;
mod retry;
mod schedule;
mod schedule_state;
mod share;
mod throttle;
mod timeout;
mod values;
mod wall_clock;

pub use backoff::{Backoff, Shape};
pub use coalesce::Coalesce;
pub use concurrency::{Concurrency, Overflow};
#[cfg(feature = "durable")]
pub(crate) use durable::AttemptEnd;
#[cfg(feature = "durable")]
pub use durable::{Canceller, Claimed, Durable, Running, Undecodable, Uniqueness, is_queue_name};
pub use key::{Key, key};
pub use missed::Missed;
pub use policies::Policies;
pub use progress::{Ending, Origin};
pub use rate::{ParseRateError, Rate, RateLimit};
pub use registry::HandlerStats;
pub use restart::Restart;
pub use retry::{Copied, NextAttempt, Retry, RetryWhen, cloned, retry_when};
pub use schedule::{Schedule, Timezone, Trigger};
pub use schedule_state::ScheduleInfo;
pub use share::{Share, ShareProbe};

pub(crate) use cancel::until_cancelled;
#[cfg(bgtask_shuttle)]
pub(crate) use coalesce::KeyGroups;
pub(crate) use coalesce::{Entry, Followers, Leader, Scope, SharedOutcome};
pub(crate) use concurrency::{Acquire, Limiter, Permit};
pub(crate) use later::{Place, Waiting};
pub(crate) use missed::{catch_up, is_missed, next_tick};
pub(crate) use progress::{Activity, Progress};
pub(crate) use rate::Window;
pub(crate) use registry::{HandlerState, Registry};
pub(crate) use rejected::{RejectedCall, Rejection, RejectionCause, RejectionEvent};
pub(crate) use retry::Fallible;
pub(crate) use schedule_state::{NeverStarted, Plan, ScheduleState};
pub(crate) use throttle::Due;
pub(crate) use timeout::within;
pub(crate) use values::Values;
pub(crate) use wall_clock::WallClock;
