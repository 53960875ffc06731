//! A process that throws work of every kind at itself, as the seed it is given says, and keeps a ledger of its own of it.
//! Arguments: the seed, and the file for the ledger.
//!
//! A line of the ledger is the microseconds since the start, a letter, and what belongs to it:
//! `M` main begins, `C n kind` a call is made, `A n id` it has returned, `K n` its task is cancelled or aborted by its handle,
//! `H n …` what its handle says, `B n` its body begins, `E n …` its body ends, `Z n` the run was a scheduled one,
//! `Q` the shutdown has been asked for, `W` the tokens of tasks have fired, `X …` the report, `S …` the totals with it.
#![allow(clippy::print_stdout, reason = "the harness reads it")]

#[cfg(unix)]
mod ledger;
#[cfg(unix)]
mod life;
#[cfg(unix)]
mod work;

#[cfg(unix)]
fn main() -> std::process::ExitCode {
    life::main()
}

#[cfg(not(unix))]
fn main() {}
