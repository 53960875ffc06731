//! Shows: a long loop that checks its token. It stops between two steps, never within one, and saves its position, so that the
//! next run continues from there.
//!
//!     cargo run -p example-basics --bin long_loop
//!
//! Press Ctrl-C: you see where the loop stops, and why. Run the program again: the loop continues. A complete run takes ten
//! seconds, and the run after it starts from the beginning.
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
async fn import(token: ShutdownToken, position: PathBuf) -> anyhow::Result<u32> {
    let from = match fs::read_to_string(&position).await {
        Ok(row) => row
            .trim()
            .parse()
            .with_context(|| format!("{} is not a number", position.display()))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error.into()),
    };
    println!("starting at row {from} of {ROWS}");
    for row in from..ROWS {
        if token.is_cancelled() {
            // There is time to save the position; `remaining` returns how much.
            fs::write(&position, row.to_string()).await?;
            if let (Some(reason), Some(left)) = (token.shutdown_reason(), token.remaining()) {
                println!(
                    "stopping at row {row} of {ROWS} ({reason}; {left:.1?} before the deadline)"
                );
            }
            return Ok(row);
        }
        if row % 100 == 99 {
            println!("row {} of {ROWS}", row + 1);
        }
        // Stands for a step that must not be interrupted.
        sleep(Duration::from_millis(10)).await;
    }
    match fs::remove_file(&position).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(ROWS),
    }
}

#[bgtask::main(grace = "5s")]
async fn main(shutdown: ShutdownToken) -> anyhow::Result<()> {
    let position = env::temp_dir().join("bgtask-long-loop");
    let mut import = import(position);
    // Waits for the end of the import or for the shutdown. In a shutdown `main` returns first; then the token of the import fires.
    if let Some(rows) = shutdown.run_until_cancelled(&mut import).await {
        println!("imported all {} rows", rows??);
    }
    Ok(())
}
