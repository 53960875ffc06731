//! The same messages over a WebSocket. Must never know who may see them.

use super::admission::{Sight, Watching};
use super::limits::Permit;
use super::message::Message as State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use futures_util::stream::StreamExt as _;
use std::pin::pin;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Clients have nothing to say: the largest message that is read, and ignored.
const READ: usize = 1024;

/// How long a client may not read before it is dropped. A message waits in its connection meanwhile, and no second one.
const UNREAD: Duration = Duration::from_secs(30);

/// Answers the request, and serves the socket, which counts as long as it is open.
pub(super) fn serve(
    upgrade: WebSocketUpgrade,
    sight: Sight,
    permit: Permit,
    keep_alive: Duration,
) -> Response {
    upgrade
        .read_buffer_size(READ)
        // Each message is written at once.
        .write_buffer_size(0)
        .max_message_size(READ)
        .max_frame_size(READ)
        .on_upgrade(move |socket| async move {
            let _open = permit;
            match sight {
                Sight::Over => close(socket, close_code::NORMAL, "the job has ended").await,
                Sight::Stream(watching) => send(socket, watching, keep_alive).await,
            }
        })
}

async fn send(mut socket: WebSocket, watching: Watching, keep_alive: Duration) {
    let mut states = pin!(watching.states());
    loop {
        let message = tokio::select! {
            state = states.next() => match state {
                Some(shown) => {
                    let is_end = shown.event.is_end();
                    let message = Message::text(State::new(&shown).json());
                    if !is_sent(&mut socket, message).await {
                        return;
                    }
                    if is_end {
                        return close(socket, close_code::NORMAL, "the job has ended").await;
                    }
                    continue;
                }
                // The ticket has expired, or the server ends.
                None => return close(socket, close_code::AWAY, "connect again").await,
            },
            read = socket.recv() => match read {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => continue,
            },
            () = sleep(keep_alive) => Message::Ping(Default::default()),
        };
        if !is_sent(&mut socket, message).await {
            return;
        }
    }
}

async fn is_sent(socket: &mut WebSocket, message: Message) -> bool {
    matches!(timeout(UNREAD, socket.send(message)).await, Ok(Ok(())))
}

async fn close(mut socket: WebSocket, code: u16, reason: &'static str) {
    let frame = CloseFrame {
        code,
        reason: reason.into(),
    };
    if is_sent(&mut socket, Message::Close(Some(frame))).await {
        // Until the client has closed as well: it would not see the reason otherwise.
        let _ = timeout(Duration::from_secs(1), async {
            while let Some(Ok(_)) = socket.recv().await {}
        })
        .await;
    }
}
