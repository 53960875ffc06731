//! The tests of the whole crate.

mod expansions;
mod fuzz;
