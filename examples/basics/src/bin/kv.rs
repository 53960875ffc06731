//! Shows: a server built with `spawn!`. Each connection is a block in a group; clients that save at once share one blocking run.
//!
//!     cargo run -p example-basics --bin kv
//!     nc 127.0.0.1 6380
//!
//! Send `SET name value`, `GET name`, `SAVE` or `QUIT`. Press Ctrl-C while you are connected: the server accepts no more
//! connections, says goodbye to you, and the program ends.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use bgtask::{Group, ShutdownToken, spawn};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{env, fs, io};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// The entries of the server. Clones share them.
#[derive(Clone, Default)]
struct Store {
    entries: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Store {
    fn get(&self, name: &str) -> Option<String> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.get(name).cloned()
    }

    fn set(&self, name: &str, value: &str) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.insert(name.to_owned(), value.to_owned());
    }

    /// Writes all entries to a file.
    fn save(&self) -> io::Result<PathBuf> {
        let mut text = String::new();
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, value) in &*entries {
            let _ = writeln!(text, "{name}={value}");
        }
        drop(entries);
        let path = env::temp_dir().join(format!("bgtask-kv-{}", std::process::id()));
        fs::write(&path, text)?;
        Ok(path)
    }
}

/// Returns the answer to one line, or `None` if the client quits.
async fn answer(store: &Store, line: &str) -> Option<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    Some(match words[..] {
        ["SET", name, value] => {
            store.set(name, value);
            "OK".to_owned()
        }
        ["GET", name] => store.get(name).unwrap_or_else(|| "(none)".to_owned()),
        ["SAVE"] => {
            let store = store.clone();
            // Clients that ask during a save share its result.
            let saved = spawn!("save", coalesce, timeout = "10s", move || {
                store.save().map_err(|error| error.to_string())
            });
            match saved.await {
                Ok(Ok(path)) => format!("saved to {}", path.display()),
                Ok(Err(error)) => format!("not saved: {error}"),
                Err(error) => format!("not saved: {error}"),
            }
        }
        ["QUIT"] => return None,
        _ => "unknown command".to_owned(),
    })
}

/// Serves one client until it disconnects or the token fires.
async fn serve(store: Store, stream: TcpStream, token: ShutdownToken) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    while let Some(line) = token.run_until_cancelled(lines.next_line()).await {
        let Some(line) = line? else { return Ok(()) };
        let Some(answer) = answer(&store, &line).await else {
            break;
        };
        writer.write_all(format!("{answer}\n").as_bytes()).await?;
    }
    writer.write_all(b"goodbye\n").await
}

#[bgtask::main]
async fn main(shutdown: ShutdownToken) -> io::Result<()> {
    let address = env::args().nth(1);
    let address = address.unwrap_or_else(|| "127.0.0.1:6380".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);

    let store = Store::default();
    let connections = Group::new();
    while let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await {
        let (stream, _) = accepted?;
        let store = store.clone();
        // bgtask logs an `Err`, because the handle is dropped here.
        spawn!(in &connections, "connection", move |token| async move {
            serve(store, stream, token).await
        });
    }
    println!("closing {} connections", connections.len());
    let late = connections.drain(Duration::from_secs(5)).await;
    println!("{} did not close in time", late.len());
    Ok(())
}
