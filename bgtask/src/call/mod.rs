//! One call: from the annotated function to its handle, the runner of its task and the policies around its body.
//! Owns the path of a call; must never know about schedules, signals or the entry points.

pub(crate) mod blocking;
mod events;
pub(crate) mod handle;
pub(crate) mod launch;
pub(crate) mod pipeline;
pub(crate) mod runner;
pub(crate) mod site;
mod span;
pub(crate) mod supervise;
pub(crate) mod token;
mod wrapped;
