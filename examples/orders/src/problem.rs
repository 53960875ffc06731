//! What goes wrong in a request, and how it is shown.
//! Knows nothing of orders.

use crate::page;
use axum::Extension;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

pub(crate) enum Problem {
    Input(&'static str),
    NotFound(&'static str),
    Internal(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Problem {
    fn from(error: E) -> Self {
        Self::Internal(error.into())
    }
}

/// The text of a problem, for [`respond`].
#[derive(Clone)]
struct Sentence(&'static str);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, sentence) = match self {
            Self::Input(sentence) => (StatusCode::BAD_REQUEST, sentence),
            Self::NotFound(sentence) => (StatusCode::NOT_FOUND, sentence),
            Self::Internal(error) => {
                tracing::error!("{error:#}");
                let sentence = "Something went wrong: the log of the shop has the details.";
                (StatusCode::INTERNAL_SERVER_ERROR, sentence)
            }
        };
        (status, Extension(Sentence(sentence)), sentence).into_response()
    }
}

/// Shows problems to browsers as a page, and allows pages nothing but the shop's own files.
pub(crate) async fn respond(request: Request, next: Next) -> Response {
    let accepts = request.headers().get(header::ACCEPT).cloned();
    let mut response = next.run(request).await;
    let is_browser = accepts.is_some_and(|types| {
        types
            .to_str()
            .is_ok_and(|types| types.contains("text/html"))
    });
    if is_browser && let Some(Sentence(sentence)) = response.extensions_mut().remove() {
        response = (response.status(), page::problem(sentence)).into_response();
    }
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(POLICY),
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
