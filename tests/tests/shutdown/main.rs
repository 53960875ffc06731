//! The shutdown: requests, the drain, the deadline and several managers.

mod deadline;
mod drain;
mod last_attempt;
mod managers;
mod request;
mod support;
