//! A line in a file for every answer, written behind it.

use anyhow::Context;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bgtask::background;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

pub(crate) struct AccessLog {
    /// Locked for a line at a time, so that lines do not mix.
    file: Mutex<File>,
}

pub(crate) fn open(path: &Path) -> anyhow::Result<Arc<AccessLog>> {
    let file = File::options()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("cannot write to {}", path.display()))?;
    Ok(Arc::new(AccessLog {
        file: Mutex::new(file),
    }))
}

impl AccessLog {
    /// A plain function, since writing to a file blocks: it runs on a thread where that does no harm.
    ///
    /// A task a line is simple, and enough here. Where thousands of lines a second are to be expected, collect them and
    /// write many at a time: each task that waits for the file keeps one of the runtime's 512 blocking threads.
    #[background]
    fn append(self: Arc<Self>, line: String) -> io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(line.as_bytes())
    }
}

/// The middleware. The line is accepted before the visitor has the answer, so no answer is without its line.
pub(crate) async fn write_line(
    State(log): State<Arc<AccessLog>>,
    request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let time = humantime::format_rfc3339_millis(SystemTime::now());
    // A URI has no line breaks: the HTTP parser refuses them.
    let what = format!("{} {}", request.method(), request.uri());
    let response = next.run(request).await;
    let (status, took) = (response.status().as_u16(), began.elapsed());
    log.append(format!("{time} {what} {status} {took:.1?}\n"));
    response
}
