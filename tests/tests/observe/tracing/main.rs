//! A process of its own, because the recorder must be there before the first manager, whose start-up event it checks. Events and spans
//! are those of `docs/tracing.md`.

mod events;
mod filters;
mod page;
mod page_table;
mod spans;
