//! The routes.

use crate::access_log::{AccessLog, log_response};
use crate::documents::PageName;
use crate::site::{Origin, Site};
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use std::sync::Arc;

pub(crate) fn router(site: Arc<Site>, log: Arc<AccessLog>) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/page/{name}", get(page))
        .route("/status", get(status))
        .fallback(|| async { not_found() })
        .with_state(site)
        .layer(from_fn_with_state(log, log_response))
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

/// Shows what runs in the background, as a table.
async fn status() -> String {
    format!("{}\n", bgtask::snapshot())
}

fn not_found() -> Response {
    (
        StatusCode::NOT_FOUND,
        Html("<h1>There is no such page</h1><p><a href=\"/\">All pages</a></p>"),
    )
        .into_response()
}

/// An error of ours: the log shows it in full, the response does not.
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
            "Something went wrong. The server's log has the details.",
        )
            .into_response()
    }
}
