//! The manager, the group and the task that the code running on this thread belongs to.
//! Owns the thread-locals and the list of managers; knows nothing of what a manager does.

mod accept;
mod ended;
mod grouped;
mod install;
mod lookup;
mod managers;
mod thread;

pub(crate) use accept::{Resolved, accept, accept_resolved, resolve};
pub(crate) use grouped::{
    Accepted, Entrance, Refusal, accept_entered, group_state, in_group, is_caller, run_as_member,
};
pub use install::require_manager;
pub(crate) use install::{GRACE, has_fallback, install, take_over};
pub(crate) use lookup::{current, current_shared, shared_if_any};
pub(crate) use managers::{known, unregister};
pub(crate) use thread::{Before, enter, leave, run_as, task, task_of};
