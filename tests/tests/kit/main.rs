//! The test kit.

mod calls;
mod clock;
mod declared;
mod dispatch;
mod drain;
mod inline;
mod paused_time;
mod support;
mod user;
mod verdict;
