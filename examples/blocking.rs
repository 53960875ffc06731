//! Shows: plain functions as background work. They run on threads of their own, where they may block, and a token tells
//! them when to stop: `sleep` for those that do something now and then, `wait` for those that only clean up.
//!
//!     cargo run -p bgtask-examples --bin blocking
//!
//! You see a spool file being written to for a second, its last lines when `main` has ended, and a marker being removed.
//! It ends by itself; Ctrl-C ends it sooner, the same way.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use bgtask::{ShutdownToken, background};
use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

static MEASURED: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// Writes what has been measured, four times a second and once more at the end.
#[background]
fn write_spool(path: PathBuf, token: ShutdownToken) -> io::Result<()> {
    let mut file = File::create(path)?;
    while token.sleep(Duration::from_millis(250)) {
        write_measured(&mut file)?;
    }
    println!("the last ones:");
    write_measured(&mut file)?;
    file.sync_all()
}

/// A file that says "I am here" to other programs. There is nothing to do between its making and its removal.
#[background]
fn keep_marker(path: PathBuf, token: ShutdownToken) -> io::Result<()> {
    File::create(&path)?;
    token.wait();
    if let (Some(reason), Some(left)) = (token.reason(), token.remaining()) {
        println!("{reason}: the marker is removed, {left:.0?} before the deadline");
    }
    fs::remove_file(path)
}

fn write_measured(file: &mut File) -> io::Result<()> {
    let measured = std::mem::take(&mut *MEASURED.lock().unwrap_or_else(PoisonError::into_inner));
    for value in &measured {
        writeln!(file, "{value}")?;
    }
    println!("{} values written", measured.len());
    Ok(())
}

#[bgtask::main]
async fn main() {
    write_spool(env::temp_dir().join("bgtask-blocking.spool"));
    keep_marker(env::temp_dir().join("bgtask-blocking.marker"));
    for value in 0..100 {
        MEASURED
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(value);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
