//! Compile-time tests; see `tests/`.
