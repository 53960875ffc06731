//! Calls without a caller: by the clock, at the start, and again after a failure.

mod all;
