//! Webhooks: the target of a call, and one delivery: signed, and sent where the guard lets it go.
//! Must never know another channel, or how often a delivery is tried.

mod client;
mod guard;
mod secrets;

use super::{DeliveryError, JobEnd};
use bgtask::durable::Notify;
use client::Client;
use guard::{Allowed, Guard};
use http::Uri;
use secrets::Secrets;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

/// The name of the channel.
pub(super) const CHANNEL: &str = "webhook";

/// The name of the secret of a target that names none.
const DEFAULT: &str = "default";

/// A target that the end of a job is posted to, for [`Enqueue::notify`](bgtask::durable::Enqueue::notify) and `durable(notify = …)`.
///
/// The request is a `POST` of JSON with the headers of [Standard Webhooks](https://www.standardwebhooks.com), signed with a secret of
/// [`Builder::webhook_secret`](crate::Builder::webhook_secret). A status from 200 to 299 within 20 s is success. After 410 the delivery is
/// dead; after all else it is tried again, for about a day, and no earlier than a `Retry-After` of the answer says, up to four hours. The receiver may get it twice, with the same `webhook-id`.
///
/// # Examples
/// ```no_run
/// use bgtask_durable::Webhook;
///
/// #[bgtask::background(durable)]
/// async fn build_report(month: u8) -> String {
///     // …
/// #   month.to_string()
/// }
///
/// # async fn request(callback: String) -> Result<(), bgtask::durable::EnqueueError> {
/// build_report(7).notify(Webhook::to(callback).secret("partner").with_value()).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing follows until it is given to `notify`"]
pub struct Webhook {
    to: To,
    with_value: bool,
}

/// The data that a delivery needs.
#[derive(Clone, Serialize, Deserialize)]
struct To {
    url: String,
    secret: String,
}

impl std::fmt::Debug for To {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A URL may hold a token.
        f.debug_struct("To")
            .field("secret", &self.secret)
            .finish_non_exhaustive()
    }
}

/// Returns a target that the end of a job is posted to: [`Webhook::to`].
pub fn webhook(url: impl Into<String>) -> Webhook {
    Webhook::to(url)
}

impl Webhook {
    /// Returns a target at this URL, which is `https` unless its host is [allowed](crate::Builder::webhook_allow).
    pub fn to(url: impl Into<String>) -> Self {
        Self {
            to: To {
                url: url.into(),
                secret: DEFAULT.to_owned(),
            },
            with_value: false,
        }
    }

    /// Sets the name of the secret that signs the requests. Default: `default`.
    pub fn secret(mut self, name: impl Into<String>) -> Self {
        self.to.secret = name.into();
        self
    }

    /// Sends the value of the job too, as `data.value`.
    pub fn with_value(mut self) -> Self {
        self.with_value = true;
        self
    }
}

impl From<Webhook> for Notify {
    fn from(webhook: Webhook) -> Self {
        match address(&webhook.to.url) {
            Ok(_) => Notify::to(CHANNEL, &webhook.to, webhook.with_value),
            Err(reason) => Notify::refused(reason),
        }
    }
}

/// Returns a URL that requests may be sent to, or what is wrong with it.
fn address(url: &str) -> Result<Uri, String> {
    let wrong = |what: &str| Err(format!("the URL of a webhook {what}"));
    let uri: Uri = match url.parse() {
        Ok(uri) => uri,
        Err(error) => {
            return wrong(&format!(
                "is none: {error}; write international names in their ASCII form, and encode other bytes with `%`"
            ));
        }
    };
    if !matches!(uri.scheme_str(), Some("https" | "http")) {
        return wrong("begins neither with `https://` nor with `http://`");
    }
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    if authority.contains('@') {
        return wrong("has a user name: a webhook is signed, so leave it out");
    }
    if uri.host().is_none_or(str::is_empty) {
        return wrong("has no host");
    }
    Ok(uri)
}

/// The settings of the channel.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) secrets: Secrets,
    pub(crate) allowed: Allowed,
}

/// The channel.
#[derive(Debug)]
pub(super) struct Webhooks {
    secrets: Secrets,
    guard: Arc<Guard>,
    /// Made with the first delivery: it reads the certificates of the system.
    client: OnceLock<Result<Client, String>>,
}

/// The body of a request.
#[derive(Serialize)]
struct Body<'a> {
    r#type: String,
    timestamp: &'a str,
    data: &'a JobEnd,
}

impl Webhooks {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            secrets: settings.secrets,
            guard: Arc::new(Guard::new(settings.allowed)),
            client: OnceLock::new(),
        }
    }

    /// Checks a target before it is stored with a call.
    pub(super) fn check(&self, to: &RawValue) -> Result<(), String> {
        let to: To = serde_json::from_str(to.get()).map_err(|error| error.to_string())?;
        let uri = address(&to.url)?;
        self.guard.check_url(&uri)?;
        self.secrets.get(&to.secret).map(drop)
    }

    /// Posts the end of a job.
    pub(super) async fn deliver(
        &self,
        id: &str,
        end: &JobEnd,
        to: &RawValue,
    ) -> Result<(), DeliveryError> {
        let to: To = serde_json::from_str(to.get()).map_err(|error| {
            DeliveryError::of_target(format!("the target does not decode: {error}"))
        })?;
        let uri = address(&to.url).map_err(DeliveryError::of_target)?;
        self.guard.check_url(&uri).map_err(DeliveryError::new)?;
        let secrets = self.secrets.get(&to.secret).map_err(DeliveryError::new)?;
        let body = Body {
            r#type: format!("job.{}", end.state),
            timestamp: &end.at,
            data: end,
        };
        let body =
            serde_json::to_string(&body).map_err(|error| DeliveryError::new(error.to_string()))?;
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let timestamp = since.unwrap_or_default().as_secs();
        let signature = secrets.sign(id, timestamp, &body);
        let client = self.client.get_or_init(|| Client::new(self.guard.clone()));
        let client = client
            .as_ref()
            .map_err(|error| DeliveryError::new(error.clone()))?;
        // Without its path, which may hold a token.
        let shown = format!(
            "{}://{}",
            uri.scheme_str().unwrap_or_default(),
            uri.authority().map_or("", |authority| authority.as_str())
        );
        let request = client::Signed {
            uri,
            id,
            timestamp,
            signature,
            body,
        };
        let client::Answer {
            status,
            retry_after,
        } = client.post(request).await.map_err(|error| {
            DeliveryError::new(format!("the webhook to {shown} failed: {error}"))
        })?;
        if status.is_success() {
            return Ok(());
        }
        let answered = format!("the webhook to {shown} was answered with {status}");
        Err(if status == http::StatusCode::GONE {
            DeliveryError::of_target(format!("{answered}: the receiver wants no more"))
        } else if status.is_redirection() {
            DeliveryError::new(format!(
                "{answered}: redirections are not followed, so give the final URL"
            ))
        } else {
            DeliveryError::new(answered).after(retry_after)
        })
    }
}
