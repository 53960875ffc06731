//! A process that runs random work of every kind, determined by a seed, and keeps its own log. Arguments: the seed, and the file
//! of the log.
//!
//! A line of the log has the microseconds since the start, a letter, and its values:
//! `M` main starts, `C n kind` a call is made, `A n id` it has returned, `K n` its handle cancels or aborts it, `H n …` the outcome of
//! its handle, `B n` its body starts, `E n …` its body ends, `Z n` the run is a scheduled one, `Q` the shutdown has been requested, `W` the
//! tokens of tasks have fired, `X …` the report, `S …` the totals with it.
#![allow(clippy::print_stdout, reason = "the harness reads it")]

#[cfg(unix)]
mod life;
#[cfg(unix)]
mod log;
#[cfg(unix)]
mod work;

#[cfg(unix)]
fn main() -> std::process::ExitCode {
    life::main()
}

#[cfg(not(unix))]
fn main() {}
