#[bgtask::background]
use std::fmt;

fn main() {
    let _ = fmt::Error;
}
