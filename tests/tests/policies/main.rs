//! The policies around one body.

mod dropped;
mod one_body;
mod properties;
