//! Whole processes, and runtimes without a manager.

mod no_manager;
mod whole;
