//! The options of `#[background]`, one small file each: the value an option takes and what it means, with what it takes to
//! hold calls to it. Those that wrap the body are put around it elsewhere, in one fixed order: see `pipeline`.
//! Knows nothing of tasks, the books or runtimes.

mod backoff;
mod burst;
mod coalesce;
mod concurrency;
#[cfg(feature = "durable")]
mod durable;
mod key;
mod keyed;
mod progress;
mod rate;
mod registry;
mod retry;
mod schedule;
mod share;
mod turned_away;
mod unless;
mod wall_clock;

pub use backoff::{Backoff, Shape};
pub use coalesce::Coalesce;
pub use concurrency::{Concurrency, Overflow};
#[cfg(feature = "durable")]
pub(crate) use durable::AttemptEnd;
#[cfg(feature = "durable")]
pub use durable::{Durable, Running, Undecodable};
pub use key::{Key, key};
pub use progress::{Ending, Origin};
pub use rate::Rate;
pub use registry::HandlerStats;
pub use retry::{Copied, Retry, RetryWhen, cloned, retry_when};
pub use schedule::{Missed, Restart, Schedule, ScheduleInfo, Timezone, Trigger};
pub use share::{Share, ShareProbe};

pub(crate) use burst::Due;
#[cfg(bgtask_shuttle)]
pub(crate) use coalesce::KeyGroups;
pub(crate) use coalesce::{Entry, Followers, Leader, Scope, SharedOutcome};
pub(crate) use concurrency::{Acquire, Limiter, Permit};
pub(crate) use progress::{Doing, Progress};
pub(crate) use rate::Window;
pub(crate) use registry::{HandlerState, Registry};
pub(crate) use retry::Fallible;
pub(crate) use schedule::{NeverStarted, Ticks, catch_up, is_missed, next_tick};
pub(crate) use turned_away::{Kind, Line, TurnedAway};
pub(crate) use unless::{unless_fired, within};
pub(crate) use wall_clock::WallClock;

use crate::state::StateSpec;
use std::time::Duration;

/// All policies of one function, as the compiler wrote them down. A function without any has none of this.
#[derive(Debug)]
pub struct Policies {
    pub coalesce: Option<Coalesce>,
    pub rate: Option<Rate>,
    pub concurrency: Option<Concurrency>,
    pub retry: Option<Retry>,
    pub timeout: Option<Duration>,
    /// Its end, even a normal one, starts the shutdown.
    pub essential: bool,
    pub schedule: Option<Schedule>,
    #[cfg(feature = "durable")]
    pub durable: Option<Durable>,
    pub states: &'static [StateSpec],
}

impl Policies {
    /// What the attribute's options are set into.
    pub const NONE: Self = Self {
        coalesce: None,
        rate: None,
        concurrency: None,
        retry: None,
        timeout: None,
        essential: false,
        schedule: None,
        #[cfg(feature = "durable")]
        durable: None,
        states: &[],
    };
}
