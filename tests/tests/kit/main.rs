//! The test kit.

mod clock;
mod inline;
mod user;
mod verdict;
