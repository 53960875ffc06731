//! Who may see the page: decided from the connection and the head of a request, before anything else is done with it.
//! Owns the rules and their words; knows nothing of what is shown.

use super::Access;
use crate::util::log::report;
use crate::util::sync::unmodelled::Mutex;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::header::{CONTENT_TYPE, HOST, HeaderName, ORIGIN};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderValue, StatusCode, Version};
use axum::response::Response;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Refusals for one cause are logged at most this often: whoever scans a network must not fill the log.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// The headers that proxies add. Behind a proxy on this machine every peer has a loopback address, whoever the client is.
const PROXIES: [&str; 9] = [
    "cdn-loop",
    "client-ip",
    "forwarded",
    "true-client-ip",
    "via",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-envoy-external-address",
    "x-real-ip",
];

/// The prefixes of proxy headers that come in many variants.
const PROXIES_BEGIN: [&str; 4] = ["cf-", "fastly-", "x-forwarded", "x-original-"];

type Authorize = Arc<dyn Fn(&Parts) -> Access + Send + Sync>;

/// What is asked for. A link from elsewhere may lead to the page; nothing else of it is for other sites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Page,
    Rest,
}

/// The rules of one router.
#[derive(Clone)]
pub(crate) struct Guard {
    hosts: Vec<AllowedHost>,
    /// In place of the rule that the peer is on this machine.
    authorize: Option<Authorize>,
    said: Arc<Mutex<[Option<Instant>; Cause::COUNT]>>,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("hosts", &self.hosts)
            .field("authorize", &self.authorize.is_some())
            .finish_non_exhaustive()
    }
}

impl Default for Guard {
    fn default() -> Self {
        let any_port = |name| AllowedHost { name, port: None };
        Self {
            hosts: vec![
                any_port(HostName::Other("localhost".to_owned())),
                any_port(HostName::Address(Ipv4Addr::LOCALHOST.into())),
                any_port(HostName::Address(Ipv6Addr::LOCALHOST.into())),
            ],
            authorize: None,
            said: Arc::default(),
        }
    }
}

impl Guard {
    /// `false` if that is no host.
    pub(crate) fn allow_host(&mut self, host: &str) -> bool {
        match AllowedHost::parse(host) {
            Some(allowed) => {
                self.hosts.push(allowed);
                true
            }
            None => false,
        }
    }

    /// Returns whether only peers on this machine may see the page.
    pub(crate) fn is_for_this_machine(&self) -> bool {
        self.authorize.is_none()
    }

    pub(crate) fn set_authorize(
        &mut self,
        authorize: impl Fn(&Parts) -> Access + Send + Sync + 'static,
    ) {
        self.authorize = Some(Arc::new(authorize));
    }

    /// Lets the request pass, or says what it is answered instead.
    pub(crate) fn admit(&self, parts: &Parts, target: Target) -> Result<(), Box<Response>> {
        let refuse = |cause: Cause| Box::new(self.refuse(cause));
        self.check_host(parts).map_err(refuse)?;
        check_site(parts, target).map_err(refuse)?;
        match &self.authorize {
            None => check_peer(parts).map_err(refuse),
            Some(authorize) => match authorize(parts).0 {
                Ok(()) => Ok(()),
                Err(Some(response)) => Err(response),
                Err(None) => Err(refuse(Cause::Denied)),
            },
        }
    }

    /// Against DNS rebinding: a page of another site whose name leads here would be of the same origin as this one, and could
    /// read it. The name in the request gives it away.
    fn check_host(&self, parts: &Parts) -> Result<(), Cause> {
        // HTTP/2 has it in `:authority`, which is the URI's, HTTP/1 in the header. Where both are there, both have to fit.
        let in_headers = parts.headers.get_all(HOST).iter();
        let in_headers = in_headers.map(|value| value.to_str().ok()?.parse().ok());
        let in_uri = parts.uri.authority().cloned().map(Some);
        let mut is_named = false;
        for authority in in_headers.chain(in_uri) {
            is_named = true;
            let authority: Authority = authority.ok_or(Cause::NoHost)?;
            let host = AllowedHost::of(&authority).ok_or(Cause::NoHost)?;
            if !self.hosts.iter().any(|allowed| allowed.covers(&host)) {
                return Err(Cause::UnknownHost);
            }
        }
        if is_named { Ok(()) } else { Err(Cause::NoHost) }
    }

    /// Says it to whoever asked, and in the log.
    fn refuse(&self, cause: Cause) -> Response {
        if self.should_log(cause) {
            let why = cause.why();
            report!(warn, "dashboard request refused"; reason = why);
        }
        let mut response = Response::new(Body::from(format!("Refused: {}.\n", cause.why())));
        *response.status_mut() = StatusCode::FORBIDDEN;
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, text);
        response
    }

    fn should_log(&self, cause: Cause) -> bool {
        // Held for a look at the clock.
        let mut said = self.said.lock();
        let last = &mut said[cause as usize];
        let may = last.is_none_or(|last| last.elapsed() >= SAY_AGAIN);
        if may {
            *last = Some(Instant::now());
        }
        may
    }
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    NoHost,
    UnknownHost,
    CrossSite,
    NoConnectInfo,
    NotLoopback,
    Proxied,
    Denied,
}

impl Cause {
    const COUNT: usize = 7;

    fn why(self) -> &'static str {
        match self {
            Cause::NoHost => {
                "it does not say, or not soundly, which host it is for (header `Host`)"
            }
            Cause::UnknownHost => {
                "it is for a host that the dashboard does not answer to; if that is one of its names, add \
                 `bgtask::dashboard::builder().allow_host(\"…\")`"
            }
            Cause::CrossSite => "it was made by a page of another site",
            Cause::NoConnectInfo => {
                "the dashboard answers peers on its own machine, and does not know the peer's address: serve the app with \
                 `into_make_service_with_connect_info::<SocketAddr>()`, or give the page a listener of its own with \
                 `bgtask::dashboard::serve(\"127.0.0.1:9090\")`, or say who may see it with \
                 `bgtask::dashboard::builder().authorize(…)`"
            }
            Cause::NotLoopback => {
                "the dashboard answers peers on its own machine only; say who may see it with \
                 `bgtask::dashboard::builder().authorize(…)`"
            }
            Cause::Proxied => {
                "it came through a proxy, behind which every peer looks as if it were on this machine; say who may see the \
                 dashboard with `bgtask::dashboard::builder().authorize(…)`"
            }
            Cause::Denied => "you may not see this",
        }
    }
}

/// Only browsers send these headers; whoever else sends none can read what it likes anyway.
fn check_site(parts: &Parts, target: Target) -> Result<(), Cause> {
    for site in parts
        .headers
        .get_all(HeaderName::from_static("sec-fetch-site"))
    {
        match site.as_bytes() {
            b"same-origin" | b"none" => {}
            // Another port of one host is the same site, and another program.
            _ if target == Target::Page => {}
            _ => return Err(Cause::CrossSite),
        }
    }
    for origin in parts.headers.get_all(ORIGIN) {
        let is_own = origin.to_str().is_ok_and(|origin| {
            let authority = origin.split_once("://").map(|(_, authority)| authority);
            authority.is_some_and(|authority| is_for(parts, authority))
        });
        if !is_own {
            return Err(Cause::CrossSite);
        }
    }
    Ok(())
}

/// Whether that is the host and port which the request is for.
fn is_for(parts: &Parts, authority: &str) -> bool {
    let own = match parts.uri.authority() {
        Some(own) => Some(own.as_str()),
        None => parts.headers.get(HOST).and_then(|host| host.to_str().ok()),
    };
    own.is_some_and(|own| own.eq_ignore_ascii_case(authority))
}

/// The peer is on this machine, as far as can be told. What a header says of the peer is anybody's word and not asked; that
/// there is one says that the peer is a proxy.
fn check_peer(parts: &Parts) -> Result<(), Cause> {
    let info = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    let ConnectInfo(peer) = info.ok_or(Cause::NoConnectInfo)?;
    // `::ffff:127.0.0.1` is what 127.0.0.1 looks like to a socket that listens on `::`.
    if !peer.ip().to_canonical().is_loopback() {
        return Err(Cause::NotLoopback);
    }
    // No browser has spoken HTTP/1.0 for decades; proxies do, some of which add no header.
    let is_old = matches!(parts.version, Version::HTTP_09 | Version::HTTP_10);
    // Names in a `HeaderMap` are always in lower case.
    let is_of_proxy = |name: &HeaderName| {
        let name = name.as_str();
        PROXIES.contains(&name) || PROXIES_BEGIN.iter().any(|begin| name.starts_with(begin))
    };
    if is_old || parts.headers.keys().any(is_of_proxy) {
        return Err(Cause::Proxied);
    }
    Ok(())
}

/// A host, and the port if it is to be just that one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct AllowedHost {
    name: HostName,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum HostName {
    Address(IpAddr),
    /// In lower case.
    Other(String),
}

impl AllowedHost {
    fn parse(text: &str) -> Option<Self> {
        Self::of(&text.parse().ok()?)
    }

    fn of(authority: &Authority) -> Option<Self> {
        let (host, text) = (authority.host(), authority.as_str());
        if host.is_empty() || text.contains('@') {
            return None;
        }
        let port = match text.strip_prefix(host)? {
            "" => None,
            rest => Some(rest.strip_prefix(':')?.parse().ok()?),
        };
        let in_brackets = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let name = match (in_brackets, host.parse()) {
            (Some(address), _) => HostName::Address(IpAddr::V6(address.parse().ok()?)),
            (None, Ok(address)) => HostName::Address(IpAddr::V4(address)),
            (None, Err(_)) => HostName::Other(host.to_ascii_lowercase()),
        };
        Some(Self { name, port })
    }

    fn covers(&self, asked: &Self) -> bool {
        self.name == asked.name && (self.port.is_none() || self.port == asked.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_or_addresses_with_or_without_a_port() {
        for (text, other, covers) in [
            ("localhost", "LOCALHOST:3000", true),
            ("[::1]", "[0:0:0:0:0:0:0:1]:80", true),
            ("127.0.0.1", "127.0.0.1", true),
            ("status.example.org:8443", "status.example.org:8443", true),
            ("status.example.org:8443", "status.example.org", false),
            ("status.example.org:8443", "status.example.org:443", false),
            ("localhost", "localhost.example.org", false),
            ("localhost", "localhost.", false),
        ] {
            let allowed = AllowedHost::parse(text).unwrap();
            let asked = AllowedHost::parse(other).unwrap();
            assert_eq!(allowed.covers(&asked), covers, "{text} {other}");
        }
    }

    #[test]
    fn what_is_no_host_is_none() {
        for text in [
            "",
            ":80",
            "user@localhost",
            "localhost:",
            "localhost:99999",
            "http://localhost",
            "localhost/path",
            "two words",
            "[::1",
            "[localhost]",
        ] {
            assert_eq!(AllowedHost::parse(text), None, "{text}");
        }
    }
}
