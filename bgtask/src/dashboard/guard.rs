//! The access rules of the page, applied to the connection and the head of a request before the request is handled.
//! Owns the rules and their messages; must never know what the page shows.

use super::rights::{Access, Granted, Rights};
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

/// The minimum time between two events with one cause, so that a network scan does not fill the log.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The headers that proxies add. Behind a proxy on this machine every peer has a loopback address, whatever the client.
const PROXY_HEADERS: [&str; 9] = [
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
const PROXY_PREFIXES: [&str; 4] = ["cf-", "fastly-", "x-forwarded", "x-original-"];

type Authorize = Arc<dyn Fn(&Parts) -> Access + Send + Sync>;

/// The target of a request. Other sites may link to a page, and to nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Page,
    Rest,
    /// A request that changes something, and needs these rights.
    Action(Rights),
}

impl Target {
    /// Returns the least rights that may reach it.
    fn needs(self) -> Rights {
        match self {
            Target::Page | Target::Rest => Rights::View,
            Target::Action(rights) => rights.max(Rights::Operate),
        }
    }
}

/// The rules of one router.
#[derive(Clone)]
pub(crate) struct Guard {
    hosts: Vec<AllowedHost>,
    /// Replaces the rule that the peer is on this machine.
    authorize: Option<Authorize>,
    /// What peers on this machine may do, where `authorize` does not decide.
    local: Rights,
    logged: Arc<Mutex<[Option<Instant>; Cause::COUNT]>>,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("hosts", &self.hosts)
            .field("authorize", &self.authorize.is_some())
            .field("local", &self.local)
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
            local: Rights::View,
            logged: Arc::default(),
        }
    }
}

impl Guard {
    /// Returns `false` if the text is not a host.
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

    /// Sets what peers on this machine may do. The rule that a peer is on this machine stays.
    pub(crate) fn set_local(&mut self, rights: Rights) {
        self.local = rights;
    }

    /// Admits the request with the rights of its sender, or returns the response to it.
    pub(crate) fn admit(&self, parts: &Parts, target: Target) -> Result<Granted, Box<Response>> {
        let refuse = |cause: Cause| Box::new(self.refuse(cause));
        self.check_host(parts).map_err(refuse)?;
        check_site(parts, target).map_err(refuse)?;
        let granted = match &self.authorize {
            None => {
                let peer = check_peer(parts).map_err(refuse)?;
                Granted::new(self.local, format!("local peer {}", peer.ip()))
            }
            Some(authorize) => match authorize(parts).into_result() {
                Ok(granted) => granted,
                Err(Some(response)) => return Err(response),
                Err(None) => return Err(refuse(Cause::Denied)),
            },
        };
        if granted.rights == Rights::None {
            return Err(refuse(Cause::Denied));
        }
        if granted.rights < target.needs() {
            return Err(refuse(Cause::FewRights));
        }
        Ok(granted)
    }

    /// Prevents DNS rebinding: if another site's name resolved to this machine, its page would have the same origin as ours and
    /// could read it. The host of the request reveals this.
    fn check_host(&self, parts: &Parts) -> Result<(), Cause> {
        // HTTP/2 has the host in `:authority`, which becomes the URI's, and HTTP/1 in the header. If there are both, check both.
        let in_headers = parts.headers.get_all(HOST).iter();
        let in_headers = in_headers.map(|value| value.to_str().ok()?.parse().ok());
        let in_uri = parts.uri.authority().cloned().map(Some);
        let mut is_named = false;
        for authority in in_headers.chain(in_uri) {
            is_named = true;
            let authority: Authority = authority.ok_or(Cause::NoHost)?;
            let host = AllowedHost::from_authority(&authority).ok_or(Cause::NoHost)?;
            if !self.hosts.iter().any(|allowed| allowed.covers(&host)) {
                return Err(Cause::UnknownHost);
            }
        }
        if is_named { Ok(()) } else { Err(Cause::NoHost) }
    }

    /// Returns the response to an action whose token is missing or is not that of its sender.
    pub(crate) fn refuse_token(&self) -> Response {
        self.refuse(Cause::Token)
    }

    /// Returns the response to a refused request, and logs the cause.
    fn refuse(&self, cause: Cause) -> Response {
        if self.should_log(cause) {
            report!(warn, "dashboard request refused"; reason = cause.reason());
        }
        let mut response = Response::new(Body::from(format!("Refused: {}.\n", cause.reason())));
        *response.status_mut() = StatusCode::FORBIDDEN;
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, text);
        response
    }

    fn should_log(&self, cause: Cause) -> bool {
        // Held to read the clock. Nothing panics under it.
        let mut logged = self.logged.lock();
        let last = &mut logged[cause as usize];
        let is_due = last.is_none_or(|last| last.elapsed() >= LOG_INTERVAL);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
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
    FewRights,
    NoOrigin,
    Token,
}

impl Cause {
    const COUNT: usize = 10;

    fn reason(self) -> &'static str {
        match self {
            Cause::NoHost => "its `Host` header is missing or malformed",
            Cause::UnknownHost => {
                "its host is not allowed; if the dashboard is served under this host, add \
                 `bgtask::dashboard::builder().allow_host(\"…\")`"
            }
            Cause::CrossSite => "it was made by a page of another site",
            Cause::NoConnectInfo => {
                "the dashboard answers only peers on its own machine, and does not know the peer's address: serve the app with \
                 `into_make_service_with_connect_info::<SocketAddr>()`, or give the page its own listener with \
                 `bgtask::dashboard::serve(\"127.0.0.1:9090\")`, or decide who may see it with \
                 `bgtask::dashboard::builder().authorize(…)`"
            }
            Cause::NotLoopback => {
                "the dashboard answers only peers on its own machine; decide who may see it with \
                 `bgtask::dashboard::builder().authorize(…)`"
            }
            Cause::Proxied => {
                "it came through a proxy, behind which every peer appears to be on this machine; decide who may see the \
                 dashboard with `bgtask::dashboard::builder().authorize(…)`"
            }
            Cause::Denied => "access was denied",
            Cause::FewRights => {
                "its sender may not do this; `bgtask::dashboard::builder().authorize(…)` decides who may, or, for peers on this \
                 machine, `local_rights(…)`"
            }
            Cause::NoOrigin => {
                "it changes something, and names no page that it comes from: a browser sends `Origin` or `Sec-Fetch-Site`"
            }
            Cause::Token => {
                "its token is missing, too old, or that of another sender: load the page again, and repeat the action"
            }
        }
    }
}

/// Refuses requests that a browser marks as made by another site. Clients without these headers are not browsers, so no other site
/// controls them.
fn check_site(parts: &Parts, target: Target) -> Result<(), Cause> {
    let is_action = matches!(target, Target::Action(_));
    let mut is_named = false;
    for site in parts
        .headers
        .get_all(HeaderName::from_static("sec-fetch-site"))
    {
        is_named = true;
        match site.as_bytes() {
            b"same-origin" => {}
            // The address bar and bookmarks, which never change anything.
            b"none" if !is_action => {}
            // `same-site` includes other ports of the host, which are other programs. They may link to a page; one that loads it as an
            // image or a script would only make work.
            _ if target == Target::Page && is_link(parts) => {}
            _ => return Err(Cause::CrossSite),
        }
    }
    for origin in parts.headers.get_all(ORIGIN) {
        is_named = true;
        let is_own = origin.to_str().is_ok_and(|origin| {
            let authority = origin.split_once("://").map(|(_, authority)| authority);
            authority.is_some_and(|authority| is_for(parts, authority))
        });
        if !is_own {
            return Err(Cause::CrossSite);
        }
    }
    if is_action && !is_named {
        return Err(Cause::NoOrigin);
    }
    Ok(())
}

/// Returns whether a browser opens what it asks for as a page. One that does not say so may.
fn is_link(parts: &Parts) -> bool {
    let destination = parts.headers.get(HeaderName::from_static("sec-fetch-dest"));
    destination.is_none_or(|destination| destination == "document")
}

/// Returns whether the authority is the host and port of the request.
fn is_for(parts: &Parts, authority: &str) -> bool {
    let own = match parts.uri.authority() {
        Some(own) => Some(own.as_str()),
        None => parts.headers.get(HOST).and_then(|host| host.to_str().ok()),
    };
    own.is_some_and(|host| host.eq_ignore_ascii_case(authority))
}

/// Checks that the peer is on this machine, and returns its address. A header about the client proves nothing, because any client can send it; but it
/// shows that the peer is a proxy.
fn check_peer(parts: &Parts) -> Result<SocketAddr, Cause> {
    let info = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    let ConnectInfo(peer) = info.ok_or(Cause::NoConnectInfo)?;
    // A socket that listens on `::` sees 127.0.0.1 as `::ffff:127.0.0.1`.
    if !peer.ip().to_canonical().is_loopback() {
        return Err(Cause::NotLoopback);
    }
    // Some proxies use HTTP/1.0 and add no header. No browser uses HTTP/1.0.
    let is_old = matches!(parts.version, Version::HTTP_09 | Version::HTTP_10);
    // Names in a `HeaderMap` are always in lower case.
    let is_proxy_header = |name: &HeaderName| {
        let name = name.as_str();
        PROXY_HEADERS.contains(&name) || PROXY_PREFIXES.iter().any(|begin| name.starts_with(begin))
    };
    if is_old || parts.headers.keys().any(is_proxy_header) {
        return Err(Cause::Proxied);
    }
    Ok(*peer)
}

/// A host, on any port or on one.
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
        Self::from_authority(&text.parse().ok()?)
    }

    fn from_authority(authority: &Authority) -> Option<Self> {
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
    fn invalid_hosts_are_rejected() {
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
