//! Shows: a long loop that heeds its token. It stops between two steps, never in one, and leaves a note of where it was,
//! so that the next run goes on from there.
//!
//!     cargo run -p bgtask-examples --bin long_loop
//!
//! Press Ctrl-C: you see where it stopped, and why. Run it again: you see it go on. Left alone it takes ten seconds, and the
//! run after that begins anew.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use anyhow::Context;
use bgtask::{ShutdownToken, background};
use std::path::PathBuf;
use std::time::Duration;
use std::{env, io};
use tokio::fs;
use tokio::time::sleep;

const ROWS: u32 = 1000;

#[background]
async fn import(token: ShutdownToken, note: PathBuf) -> anyhow::Result<u32> {
    let from = match fs::read_to_string(&note).await {
        Ok(row) => row
            .trim()
            .parse()
            .with_context(|| format!("{} is not a number", note.display()))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error.into()),
    };
    println!("row {from} of {ROWS}: it begins");
    for row in from..ROWS {
        if token.is_cancelled() {
            // Asked to stop, not killed: there is time for the note. `remaining` says how much.
            fs::write(&note, row.to_string()).await?;
            if let (Some(reason), Some(left)) = (token.reason(), token.remaining()) {
                println!("row {row} of {ROWS}: it stops ({reason}; {left:.1?} would be left)");
            }
            return Ok(row);
        }
        if row % 100 == 99 {
            println!("row {} of {ROWS}", row + 1);
        }
        // A step: some milliseconds of work that is not to be torn apart.
        sleep(Duration::from_millis(10)).await;
    }
    match fs::remove_file(&note).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(ROWS),
    }
}

#[bgtask::main(grace = "5s")]
async fn main(shutdown: ShutdownToken) -> anyhow::Result<()> {
    let note = env::temp_dir().join("bgtask-long-loop");
    let mut import = import(note);
    // Whichever comes first. A dropped handle would only detach the import; this one is borrowed and comes back.
    let ended = shutdown.run_until_cancelled(&mut import).await;
    // After a Ctrl-C the import is not waited for here: it hears of the shutdown when `main` has returned.
    if let Some(rows) = ended {
        println!("all {} rows are there", rows??);
    }
    Ok(())
}
