//! The seam of the test kit: a dispatcher decides when each call runs, and is notified of what only a test asks for.
//! Owns the interface; must never know how a test uses it.

use crate::error::RefusedReason;
use crate::observe::Coalesced;
use crate::observe::call_info::CallInfo;
use crate::stats::{Outcome, TaskId};
use crate::util::spawn;
use crate::util::text::Message;
use std::any::Any;
use std::future::Future;
use std::io;
use std::pin::Pin;
use tokio::runtime::Handle;

/// One accepted call that is still to run. Dropping it aborts the call.
pub(crate) struct Launch {
    pub(crate) runtime: Handle,
    pub(crate) name: &'static str,
    pub(crate) work: LaunchWork,
}

pub(crate) enum LaunchWork {
    Async(Pin<Box<dyn Future<Output = ()> + Send>>),
    /// The function, and what happens to the call if there is no thread for it.
    Blocking(Box<dyn FnOnce() + Send>, LacksThread),
}

pub(crate) type LacksThread = Box<dyn FnOnce(&io::Error) + Send>;

impl Launch {
    /// Hands the call to the runtime.
    pub(crate) fn run(self) {
        match self.work {
            LaunchWork::Async(call) => spawn::spawn(&self.runtime, self.name, call),
            LaunchWork::Blocking(call, lacks_thread) => {
                let spawned = spawn::spawn_blocking(&self.runtime, self.name, call);
                if let Err(error) = spawned {
                    lacks_thread(&error);
                }
            }
        }
    }
}

/// Why a call has no run of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NotStarted {
    /// Another call in flight does its work.
    Coalesced(Coalesced),
    Refused(RefusedReason),
}

/// The test kit of one manager, if there is one.
pub(crate) trait Dispatcher: Any + Send + Sync {
    /// A call was accepted. It stays queued until `launch` is run.
    fn dispatch(&self, call: CallInfo, launch: Launch);
    /// A call was made that has no run of its own.
    fn makes_no_run(&self, call: CallInfo, why: NotStarted);
    /// The first instruction of a call's body is about to run: once per attempt.
    fn begun(&self, id: TaskId);
    /// A failure that was not read from a handle: the call returned an `Err` with this `message`, or timed out.
    fn unseen(&self, call: CallInfo, outcome: Outcome, message: &Message);
    /// The holder of a handle has read that the call lacked a state.
    fn refusal_seen(&self, id: TaskId);
    /// Returns whether blocking functions run on the thread that calls them, not on the blocking pool.
    fn is_inline(&self) -> bool;
    /// A durable call was dropped without being awaited.
    #[cfg(feature = "durable")]
    fn not_stored(
        &self,
        handler: &'static crate::handler::Handler,
        called_at: &'static std::panic::Location<'static>,
    );
    /// A durable call was stored, with these arguments.
    #[cfg(feature = "durable")]
    fn stored(
        &self,
        handler: &'static crate::handler::Handler,
        called_at: &'static std::panic::Location<'static>,
        arguments: &str,
    );
    /// The jobs of the test's store have changed.
    #[cfg(feature = "durable")]
    fn jobs_changed(&self);
    /// A job is dead, and its outcome was not awaited. `outcome` is that of its last attempt.
    #[cfg(feature = "durable")]
    fn dead(&self, handler: &'static crate::handler::Handler, outcome: Outcome, message: &str);
}
