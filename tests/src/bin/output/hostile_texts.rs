//! Errors, panics and reasons whose text tries to deceive a reader of stderr. The argument selects the text; there is no
//! subscriber.

use bgtask::{ShutdownToken, background};

/// Ends the line, forges the next one, moves the cursor and reverses the text direction.
const HOSTILE: &str = "disk\r\nbgtask: forged name=forged\u{1b}[2J\u{9b}31m\u{2028}\u{2029}\u{202e}\u{2066}\u{7f}\u{0}end";

#[background]
async fn fails(text: String) -> Result<(), String> {
    Err(text)
}

#[background]
async fn panics(text: String) {
    std::panic::panic_any(text);
}

#[background]
async fn fails_late(text: String, token: ShutdownToken) -> Result<(), String> {
    token.cancelled().await;
    Err(text)
}

#[bgtask::main(flavor = "current_thread", grace = "10s")]
async fn main() {
    // The default hook prints the text of a panic itself.
    std::panic::set_hook(Box::new(|_| {}));
    let what = std::env::args().nth(1).unwrap_or_default();
    let text = match what.as_str() {
        "forged" => HOSTILE.to_owned(),
        "short" => {
            bgtask::set_text_limit(10);
            "0123456789abcdef".to_owned()
        }
        "whole" => {
            bgtask::set_text_limit(usize::MAX);
            "é".repeat(50_000)
        }
        _ => "é".repeat(50_000),
    };
    bgtask::on_error(|task| std::panic::panic_any(task.error.to_owned()));
    fails(text.clone());
    panics(text.clone());
    fails_late(text.clone());
    while bgtask::stats().running > 1 {
        tokio::task::yield_now().await;
    }
    bgtask::request_shutdown(text);
    std::future::pending().await
}
