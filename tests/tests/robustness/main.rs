//! Code, texts and machines that behave badly: no call is lost for it.

mod hostile_texts;
mod hostile_user_code;
mod panicking_subscribers;
mod resource_exhaustion;
mod runner_reuse;
