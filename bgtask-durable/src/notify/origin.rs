//! Which pages may read the routes: those of the same host, and of the origins that are allowed by name. Must never know a ticket.

use axum::http::header::{HOST, HeaderName, ORIGIN};
use axum::http::request::Parts;
use axum::http::uri::{Authority, Uri};
use axum::http::{HeaderMap, HeaderValue, header};

/// The headers of each response: a ticket in an address is a secret, and so is what it shows.
const HEADERS: [(HeaderName, &str); 4] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

/// The origins that are allowed by name, in lower case.
#[derive(Debug)]
pub(super) struct Origins(Vec<String>);

/// Whose page a request is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// The same host, or no page at all: such a program could claim any origin.
    Same,
    /// An origin that is allowed.
    Allowed(HeaderValue),
}

impl Origins {
    pub(super) fn new(origins: Vec<String>) -> Self {
        Self(origins)
    }

    /// Returns whose page makes a request. `None` if it is that of an origin that is not allowed. Browsers send the header with each
    /// request to another origin, and with each WebSocket.
    pub(super) fn check(&self, request: &Parts) -> Option<From> {
        let Some(origin) = request.headers.get(ORIGIN) else {
            return Some(From::Same);
        };
        let text = origin.to_str().ok()?.to_ascii_lowercase();
        if self.0.contains(&text) {
            return Some(From::Allowed(origin.clone()));
        }
        is_same(&text, request).then_some(From::Same)
    }

    /// Adds the headers of a response to this page.
    pub(super) fn add_headers(&self, from: Option<From>, headers: &mut HeaderMap) {
        for (name, value) in HEADERS {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if !self.0.is_empty() {
            headers.append(header::VARY, HeaderValue::from_static("origin"));
        }
        if let Some(From::Allowed(origin)) = from {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        }
    }
}

/// Whether an origin is that of the host which the request is for. The scheme is not compared: behind a proxy that encrypts, the
/// server does not know it.
fn is_same(origin: &str, request: &Parts) -> bool {
    let Some((scheme, host)) = parts(origin) else {
        return false;
    };
    let named = match request.uri.authority() {
        Some(authority) => Some(authority.clone()),
        None => request
            .headers
            .get(HOST)
            .and_then(|host| Authority::try_from(host.as_bytes()).ok()),
    };
    let port = |authority: &Authority| {
        let default = if scheme == "https" { 443 } else { 80 };
        authority.port_u16().unwrap_or(default)
    };
    named.is_some_and(|named| {
        named.host().eq_ignore_ascii_case(host.host()) && port(&named) == port(&host)
    })
}

/// Returns the scheme and the host of an origin.
fn parts(origin: &str) -> Option<(String, Authority)> {
    let uri: Uri = origin.parse().ok()?;
    let scheme = uri.scheme_str()?.to_owned();
    Some((scheme, uri.authority()?.clone()))
}

/// Whether a text is an origin as browsers send it.
pub(super) fn is_origin(text: &str) -> bool {
    parts(text).is_some_and(|(scheme, authority)| {
        !authority.host().is_empty()
            && !authority.host().contains('*')
            && format!("{scheme}://{authority}") == text
            && !authority.as_str().contains('@')
    })
}
