//! `warn_after`: its values, and that it needs a level at which to log.
use bgtask::background;

#[background(warn_after = 5)]
async fn a_number() {}

#[background(warn_after = "soon")]
async fn no_duration() {}

#[background(warn_after = "0s")]
async fn zero() {}

#[background(warn_after)]
async fn no_value() {}

#[background(log = "off", warn_after = "30s")]
async fn silent() {}

#[background(dump = "SIGUSR1")]
async fn of_main() {}

fn main() {}
