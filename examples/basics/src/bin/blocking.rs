//! Shows: plain functions as background work. They run on the blocking pool, and a token signals the shutdown: a function that
//! works periodically calls `sleep`, and one that only cleans up calls `wait`.
//!
//!     cargo run -p example-basics --bin blocking
//!
//! You see the program write values to a spool file for a second. When `main` has returned, it writes the last values and removes
//! a marker file. Ctrl-C ends it sooner, in the same way.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use bgtask::{ShutdownToken, background};
use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

static MEASURED: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// Writes the new values four times per second, and once more at the shutdown.
#[background]
fn write_spool(path: PathBuf, token: ShutdownToken) -> io::Result<()> {
    let mut file = File::create(path)?;
    while token.sleep(Duration::from_millis(250)) {
        write_measured(&mut file)?;
    }
    println!("shutting down: the last values");
    write_measured(&mut file)?;
    file.sync_all()
}

/// Keeps a marker file, which shows other programs that this one runs.
#[background]
fn keep_marker(path: PathBuf, token: ShutdownToken) -> io::Result<()> {
    File::create(&path)?;
    token.wait();
    if let (Some(reason), Some(left)) = (token.shutdown_reason(), token.remaining()) {
        println!("{reason}: removing the marker, {left:.0?} before the deadline");
    }
    fs::remove_file(path)
}

fn write_measured(file: &mut File) -> io::Result<()> {
    let measured = std::mem::take(&mut *MEASURED.lock().unwrap_or_else(PoisonError::into_inner));
    for value in &measured {
        writeln!(file, "{value}")?;
    }
    println!("wrote {} values", measured.len());
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
