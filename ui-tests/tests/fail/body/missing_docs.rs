#![deny(missing_docs)]
//! The lint speaks of the function, not of the attribute.

#[bgtask::background]
pub async fn undocumented() {}

fn main() {}
