//! Snapshots, statistics, slow tasks and the dashboard.

mod dashboard;
mod slow_tasks;
mod snapshot;
mod stats;
