//! Shows: a `Group` per connection. The tasks that a connection starts end with it and drain apart from all others. The
//! shutdown drains all of them.
//!
//!     cargo run -p example-basics --bin connections
//!
//! You see two clients subscribe and disconnect. Their tasks end with them, but audit lines outlive their connection.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use bgtask::{Group, ShutdownToken, background};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

/// Sends messages to the client until its connection ends.
#[background]
async fn publish(channel: String, token: ShutdownToken) {
    while token
        .run_until_cancelled(sleep(Duration::from_millis(50)))
        .await
        .is_some()
    {}
    println!("{channel}: no more messages");
}

/// Writes an audit line, even if the connection ends meanwhile.
#[background]
async fn audit(line: String) {
    sleep(Duration::from_millis(100)).await;
    println!("audit: {line}");
}

async fn serve(client: TcpStream) -> io::Result<()> {
    // Cancels the members when it is dropped: also at a `?`, and if this future is dropped.
    let group = Group::new().cancel_on_drop();
    let mut lines = BufReader::new(client).lines();
    while let Some(channel) = lines.next_line().await? {
        group.run(|| publish(channel.clone()));
        audit(format!("subscribed to {channel}"));
    }
    let late = group.drain(Duration::from_secs(1)).await;
    println!(
        "a connection has ended; {} of its tasks did not end in time",
        late.len()
    );
    Ok(())
}

#[background]
async fn accept(listener: TcpListener, token: ShutdownToken) -> io::Result<()> {
    while let Some(accepted) = token.run_until_cancelled(listener.accept()).await {
        let (client, _) = accepted?;
        connection(client);
    }
    Ok(())
}

#[background]
async fn connection(client: TcpStream, token: ShutdownToken) -> io::Result<()> {
    token
        .run_until_cancelled(serve(client))
        .await
        .unwrap_or(Ok(()))
}

#[bgtask::main]
async fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    accept(listener);
    for channels in [&["news", "weather"][..], &["sports"]] {
        let mut client = TcpStream::connect(address).await?;
        for channel in channels {
            client.write_all(format!("{channel}\n").as_bytes()).await?;
        }
    }
    sleep(Duration::from_millis(300)).await;
    println!(
        "running tasks: {}, which accepts connections",
        bgtask::stats().running
    );
    Ok(())
}
