//! Whole processes: signals, exit codes, stderr, and runtimes without a manager.

#[cfg(unix)]
mod exit_codes;
#[cfg(unix)]
mod functions;
#[cfg(unix)]
mod managers;
mod no_manager;
#[cfg(unix)]
mod signals;
#[cfg(unix)]
mod stderr;
#[cfg(unix)]
mod support;
