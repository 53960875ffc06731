//! The client that posts webhooks: resolves with the guard, follows nothing, uses no proxy, and waits for no one.
//! Must never know a secret.

use super::guard::Guard;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};
use tower_service::Service;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);

/// How long a request may take in all.
const REQUEST: Duration = Duration::from_secs(20);

/// How much of an answer is read, so that its connection can be used again.
const ANSWER: usize = 64 * 1024;

/// A request that is signed.
pub(super) struct Signed<'a> {
    pub(super) uri: Uri,
    pub(super) id: &'a str,
    pub(super) timestamp: u64,
    pub(super) signature: String,
    pub(super) body: String,
}

/// What counts of an answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// For how long the receiver wants to be left alone.
    pub(super) retry_after: Option<Duration>,
}

/// Reads the header of [RFC 9110](https://www.rfc-editor.org/rfc/rfc9110#field.retry-after): seconds, or a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    // One that is over asks for no pause.
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

type Connector = HttpsConnector<HttpConnector<Resolver>>;

pub(super) struct Client(hyper_util::client::legacy::Client<Connector, Full<Bytes>>);

impl Client {
    /// # Errors
    /// If the system has no certificates.
    pub(super) fn new(guard: Arc<Guard>) -> Result<Self, String> {
        // An address that is written in the URL is not resolved: the guard has checked it before.
        let mut tcp = HttpConnector::new_with_resolver(Resolver(guard));
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT));
        tcp.set_nodelay(true);
        let provider = rustls::crypto::ring::default_provider();
        let tls = HttpsConnectorBuilder::new().with_provider_and_native_roots(provider);
        let tls =
            tls.map_err(|error| format!("the certificates of the system cannot be read: {error}"))?;
        let connector = tls.https_or_http().enable_http1().wrap_connector(tcp);
        let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(4)
            .build(connector);
        Ok(Self(client))
    }

    /// Posts a request.
    pub(super) async fn post(&self, signed: Signed<'_>) -> Result<Answer, String> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(signed.uri)
            .header(header::CONTENT_TYPE, "application/json")
            .header(
                header::USER_AGENT,
                concat!("bgtask/", env!("CARGO_PKG_VERSION")),
            )
            .header("webhook-id", signed.id)
            .header("webhook-timestamp", signed.timestamp)
            .header("webhook-signature", signed.signature)
            .body(Full::new(signed.body.into()))
            .map_err(|error| error.to_string())?;
        let answered = async {
            let answer = self
                .0
                .request(request)
                .await
                .map_err(|error| causes(&error))?;
            let read = Answer {
                status: answer.status(),
                retry_after: retry_after(answer.headers()),
            };
            let mut body = answer.into_body();
            let mut size = 0;
            // What counts has been read, so what becomes of the rest does not matter.
            while let Some(Ok(frame)) = body.frame().await {
                size += frame.data_ref().map_or(0, Bytes::len);
                if size > ANSWER {
                    break;
                }
            }
            Ok(read)
        };
        tokio::time::timeout(REQUEST, answered)
            .await
            .unwrap_or_else(|_| Err(format!("it has not been answered within {REQUEST:?}")))
    }
}

/// Returns the text of an error with those of its causes, each once.
fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let next_text = next.to_string();
        if !text.ends_with(&next_text) {
            text = format!("{text}: {next_text}");
        }
        cause = next.source();
    }
    text
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// Resolves the name of a host for one connection, and lets it have no address that the guard refuses.
#[derive(Clone)]
struct Resolver(Arc<Guard>);

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, io::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let guard = self.0.clone();
        Box::pin(async move {
            let resolved: Vec<_> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            for address in &resolved {
                // One is enough: a name that leads to both is a trick.
                guard
                    .check_address(name.as_str(), address.ip())
                    .map_err(|reason| io::Error::new(io::ErrorKind::PermissionDenied, reason))?;
            }
            Ok(resolved.into_iter())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_is_a_number_of_seconds_or_ends_at_a_date() {
        let pause = |value: String| {
            let value = value.parse().expect("a header");
            retry_after(&HeaderMap::from_iter([(header::RETRY_AFTER, value)]))
        };
        assert_eq!(pause("120".to_owned()), Some(Duration::from_secs(120)));
        let date = SystemTime::now() + Duration::from_secs(600);
        let left = pause(httpdate::fmt_http_date(date)).expect("a date");
        // A date has whole seconds.
        assert!((500..=600).contains(&left.as_secs()), "{left:?}");
        let over = "Wed, 21 Oct 2015 07:28:00 GMT".to_owned();
        assert_eq!(pause(over), Some(Duration::ZERO));
        for wrong in ["soon", "-1", "1.5", ""] {
            assert_eq!(pause(wrong.to_owned()), None, "{wrong:?}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
