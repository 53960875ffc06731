//! What a program shows of itself without a subscriber: the dashboard and the snapshot.

mod dashboard;
mod snapshot;
