//! A process of its own, because its recorder is the whole process's and counts every manager. The feature `metrics`: a scrape adds
//! up, whatever becomes of the calls.

mod calls;
mod gauges;
mod policies;
mod support;
