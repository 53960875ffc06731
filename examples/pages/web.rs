//! The routes.

use crate::access_log::{AccessLog, write_line};
use crate::documents::PageName;
use crate::site::{Origin, Site};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use std::sync::Arc;

pub(crate) fn router(site: Arc<Site>, log: Option<Arc<AccessLog>>) -> Router {
    let router = Router::new()
        .route("/", get(index))
        .route("/page/{name}", get(page))
        .route("/status", get(status))
        .fallback(|| async { not_found() })
        .with_state(site);
    match log {
        Some(log) => router.layer(from_fn_with_state(log, write_line)),
        None => router,
    }
}

async fn index(State(site): State<Arc<Site>>) -> Result<Html<String>, ServerError> {
    Ok(Html(site.index().await?))
}

async fn page(
    State(site): State<Arc<Site>>,
    Path(name): Path<String>,
) -> Result<Response, ServerError> {
    let Some(name) = PageName::new(&name) else {
        return Ok(not_found());
    };
    let Some(page) = site.page(&name).await? else {
        return Ok(not_found());
    };
    let from = match page.from {
        Origin::Fresh => "fresh",
        Origin::Stale => "stale",
        Origin::Rendered => "rendered",
    };
    Ok(([("x-cache", from)], Html(page.html)).into_response())
}

/// What is at work behind the answers.
async fn status() -> Json<Value> {
    let stats = bgtask::stats();
    let tasks: Vec<_> = bgtask::tasks()
        .iter()
        .map(|task| {
            json!({
                "id": task.id.as_u64(),
                "name": task.name,
                "state": task.state.to_string(),
                "age_seconds": task.age.as_secs_f64(),
                "called_at": task.called_at.to_string(),
            })
        })
        .collect();
    Json(json!({
        "is_shutting_down": bgtask::is_shutting_down(),
        "tasks": tasks,
        "stats": {
            "accepted": stats.accepted,
            "refused": stats.refused,
            "running": stats.running,
            "succeeded": stats.succeeded,
            "failed": stats.failed,
            "panicked": stats.panicked,
            "timed_out": stats.timed_out,
            "cancelled": stats.cancelled,
            "aborted": stats.aborted,
            "abandoned": stats.abandoned,
        },
    }))
}

fn not_found() -> Response {
    (
        StatusCode::NOT_FOUND,
        Html("<h1>There is no such page</h1><p><a href=\"/\">All pages</a></p>"),
    )
        .into_response()
}

/// Said in full in the log, and not at all to the visitor.
struct ServerError(anyhow::Error);

impl<E: Into<anyhow::Error>> From<E> for ServerError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for ServerError {
    fn into_response(self) -> Response {
        tracing::error!("{:#}", self.0);
        (
            StatusCode::INTERNAL_SERVER_ERROR,
            "Something went wrong here; it is in the log.",
        )
            .into_response()
    }
}
