//! Hostile code, hostile text, exhausted resources and reused runners: no call is lost.

mod hostile_texts;
mod hostile_user_code;
mod panicking_subscribers;
mod panicking_wakers;
mod resource_exhaustion;
mod runner_reuse;
