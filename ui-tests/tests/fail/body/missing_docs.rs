#![deny(missing_docs)]
//! The lint names the function, not the attribute.

#[bgtask::background]
pub async fn undocumented() {}

fn main() {}
