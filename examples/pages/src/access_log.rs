//! The access log: one line per response, written in the background, many lines at a time.

use anyhow::Context;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bgtask::{ShutdownToken, background};
use std::fs::File;
use std::io::{self, Write};
use std::mem;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// How long lines are collected before they are written.
const COLLECT: Duration = Duration::from_secs(30);

pub(crate) struct AccessLog {
    file: File,
    /// The lines that are not written yet.
    lines: Mutex<String>,
}

pub(crate) fn open(path: &Path) -> anyhow::Result<Arc<AccessLog>> {
    let file = File::options()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("cannot write to {}", path.display()))?;
    Ok(Arc::new(AccessLog {
        file,
        lines: Mutex::default(),
    }))
}

impl AccessLog {
    /// Collects lines for a while and writes them all at once.
    ///
    /// A plain function, because it blocks: it runs on the blocking pool. While it runs, all further calls share one more run
    /// after it. So only one run writes at a time, and each line has a run that starts after the line was added.
    #[background(coalesce(policy = "trailing"))]
    fn write(self: Arc<Self>, token: ShutdownToken) -> io::Result<()> {
        if self.lines().is_empty() {
            return Ok(()); // the run before this one has written the line
        }
        // The token fires when the shutdown starts to drain. Then there is nothing to wait for.
        let is_draining = !token.sleep(COLLECT);
        let lines = mem::take(&mut *self.lines());
        (&self.file).write_all(lines.as_bytes())?;
        let count = lines.lines().count();
        tracing::info!(lines = count, is_draining, "access log written");
        Ok(())
    }

    fn lines(&self) -> MutexGuard<'_, String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The middleware. It calls `write` before the response is sent, so each response that a visitor has received is logged.
pub(crate) async fn log_response(
    State(log): State<Arc<AccessLog>>,
    request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let time = humantime::format_rfc3339_millis(SystemTime::now());
    // The HTTP parser rejects URIs with line breaks.
    let what = format!("{} {}", request.method(), request.uri());
    let response = next.run(request).await;
    let (status, took) = (response.status().as_u16(), began.elapsed());
    let line = format!("{time} {what} {status} {took:.1?}\n");
    log.lines().push_str(&line);
    log.write();
    response
}
