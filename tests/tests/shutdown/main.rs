//! The shutdown: its drain, its deadline and its managers.

mod last_attempt;
mod sequence;
