//! The settings of deliveries: the notifiers of the program, the secrets of webhooks, the mail server.
//! Knows nothing of how anything is delivered.

use super::Builder;
use super::environment::Environment;
use super::names::Name;
use super::values::Origin;
use crate::OpenError;
use crate::followup::{self, Config, Notifier};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

const NOTIFIER: Name = Name {
    method: "notifier",
    variable: "notifier",
    expected: "a name of the program's own, which `webhook` and `email` are not",
};

/// Returns the name of a setting whose channel says what it expects.
const fn of_channel(method: &'static str, variable: &'static str) -> Name {
    Name {
        method,
        variable,
        expected: "",
    }
}

const SECRET: Name = of_channel("webhook_secret", "BGTASK_WEBHOOK_SECRET");
const ALLOW: Name = of_channel("webhook_allow", "BGTASK_WEBHOOK_ALLOW");
const SMTP_URL: Name = of_channel("smtp_url", "BGTASK_SMTP_URL");
const EMAIL_FROM: Name = of_channel("email_from", "BGTASK_EMAIL_FROM");

/// The variables, each with the feature that reads it.
pub(super) const VARIABLES: [(&str, &str); 4] = [
    (SECRET.variable, "webhook"),
    (ALLOW.variable, "webhook"),
    (SMTP_URL.variable, "email"),
    (EMAIL_FROM.variable, "email"),
];

/// The prefix of the variables with secrets of other names than `default`.
pub(super) const SECRET_OF: &str = "BGTASK_WEBHOOK_SECRET_";

/// The channels as the program sets them up.
#[derive(Clone, Default)]
pub(crate) struct Given {
    notifiers: BTreeMap<String, Arc<dyn followup::AnyNotifier>>,
    #[cfg(feature = "webhook")]
    secrets: BTreeMap<String, Vec<String>>,
    #[cfg(feature = "webhook")]
    allowed: Vec<String>,
    #[cfg(feature = "email")]
    smtp_url: Option<String>,
    #[cfg(feature = "email")]
    email_from: Option<String>,
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The rest is secret, or holds a password.
        f.debug_struct("Given")
            .field("notifiers", &self.notifiers.keys())
            .finish_non_exhaustive()
    }
}

impl Builder {
    /// Registers a channel of the program under a name, for the targets that calls make with [`Custom::new`](crate::Custom::new). A second
    /// one of the name replaces the first.
    ///
    /// Register it in each process that works jobs, or leave the queue `bgtask-notify` to the others with
    /// `queue("bgtask-notify", 0)`. In a process without it, a delivery fails, and is tried again.
    pub fn notifier(mut self, name: impl Into<String>, notifier: impl Notifier) -> Self {
        let notifiers = &mut self.channels.notifiers;
        notifiers.insert(name.into(), Arc::new(notifier));
        self
    }

    /// Sets the secrets of a name, which sign the webhooks that name it: each is `whsec_` and the base64 of 24 to 64 bytes, as
    /// `echo whsec_$(openssl rand -base64 32)` prints it. Default: those in `BGTASK_WEBHOOK_SECRET_NAME`, and for the name `default` in
    /// `BGTASK_WEBHOOK_SECRET`, with commas between.
    ///
    /// Of several, each request has the signature of every one: add the new one, have the receiver know it, and remove the old one.
    #[cfg(feature = "webhook")]
    pub fn webhook_secret<S: Into<String>>(
        mut self,
        name: impl Into<String>,
        secrets: impl IntoIterator<Item = S>,
    ) -> Self {
        let secrets = secrets.into_iter().map(Into::into).collect();
        self.channels.secrets.insert(name.into(), secrets);
        self
    }

    /// Allows webhooks to a host or a network that is not on the public internet: `hooks.internal`, `10.1.2.3` or `10.0.0.0/8`. Without
    /// encryption too, where the URL has the host's name or address. Default: those in `BGTASK_WEBHOOK_ALLOW`, with commas between, or none.
    ///
    /// Allow what all may reach who give the URLs. A name that is allowed is not checked any further, wherever it leads.
    #[cfg(feature = "webhook")]
    pub fn webhook_allow(mut self, host_or_network: impl Into<String>) -> Self {
        self.channels.allowed.push(host_or_network.into());
        self
    }

    /// Sets the mail server: `smtps://user:password@host`, or with STARTTLS `smtp://user:password@host:587?tls=required`. Without
    /// `tls=required`, `smtp` does not encrypt. Default: `BGTASK_SMTP_URL`, or none.
    #[cfg(feature = "email")]
    pub fn smtp_url(mut self, url: impl Into<String>) -> Self {
        self.channels.smtp_url = Some(url.into());
        self
    }

    /// Sets the sender of the e-mails: `shop@example.com` or `Shop <shop@example.com>`. Default: `BGTASK_EMAIL_FROM`.
    #[cfg(feature = "email")]
    pub fn email_from(mut self, sender: impl Into<String>) -> Self {
        self.channels.email_from = Some(sender.into());
        self
    }
}

impl Given {
    /// Returns the channels that hold.
    pub(crate) fn resolve(self, environment: &Environment) -> Result<Config, OpenError> {
        for (variable, feature) in VARIABLES {
            let is_built = match feature {
                "webhook" => cfg!(feature = "webhook"),
                _ => cfg!(feature = "email"),
            };
            if !is_built && environment.is_set(variable) {
                tracing::warn!(target: "bgtask", variable, feature,
                    "a variable of the environment is for a feature of bgtask-durable that this program is built without: it has no effect");
            }
        }
        let config = Config {
            #[cfg(feature = "webhook")]
            webhook: webhook(self.secrets, &self.allowed, environment)?,
            #[cfg(feature = "email")]
            email: email(self.smtp_url, self.email_from, environment)?,
            notifiers: self.notifiers,
        };
        if let Some(name) = followup::reserved(&config) {
            return Err(NOTIFIER.wrong(Origin::Code, name));
        }
        // `Debug` shows names alone.
        tracing::debug!(target: "bgtask", channels = ?config, "the channels of what follows the ends of jobs");
        Ok(config)
    }
}

/// Returns the secrets and the allowed hosts. The secrets that the program sets are fixed; the environment may have others.
#[cfg(feature = "webhook")]
fn webhook(
    given: BTreeMap<String, Vec<String>>,
    allowed: &[String],
    environment: &Environment,
) -> Result<followup::WebhookSettings, OpenError> {
    let mut settings = followup::WebhookSettings::default();
    for (name, texts) in &given {
        let added = settings.secrets.add(name, texts.iter().map(|text| &**text));
        // No value is shown: it may be a secret with a mistake in it.
        added.map_err(|expected| SECRET.refused(Origin::Code, "…", expected))?;
    }
    let mut variables = environment.names_after(SECRET_OF);
    variables.push(("default".to_owned(), SECRET.variable.to_owned()));
    for (name, variable) in variables {
        let read = environment.read(&variable);
        let Some(text) = read.map_err(|_| SECRET.refused(Origin::Environment, "…", "UTF-8"))?
        else {
            continue;
        };
        let added = settings.secrets.add(&name, text.split(','));
        added.map_err(|expected| SECRET.refused(Origin::Environment, "…", expected))?;
    }
    for text in allowed {
        let added = settings.allowed.add(text);
        added.map_err(|expected| ALLOW.refused(Origin::Code, text, expected))?;
    }
    if let Some(text) = ALLOW.read(environment)?.filter(|_| allowed.is_empty()) {
        for one in text.split(',') {
            let added = settings.allowed.add(one);
            added.map_err(|expected| ALLOW.refused(Origin::Environment, &*text, expected))?;
        }
    }
    Ok(settings)
}

/// Returns the mail server, if there is one.
#[cfg(feature = "email")]
fn email(
    url: Option<String>,
    sender: Option<String>,
    environment: &Environment,
) -> Result<Option<followup::Mailer>, OpenError> {
    let found = |given: Option<String>, name: &Name| {
        Ok::<_, OpenError>(match given {
            Some(given) => Some((given, Origin::Code)),
            None => environment
                .read(name.variable)
                .map_err(|_| name.refused(Origin::Environment, "…", "UTF-8"))?
                .map(|text| (text, Origin::Environment)),
        })
    };
    let (url, sender) = (found(url, &SMTP_URL)?, found(sender, &EMAIL_FROM)?);
    let Some((url, origin)) = url else {
        // A process that delivers nothing may well have the sender of those that do.
        return Ok(None);
    };
    // Without the URL, which may hold a password.
    let server = followup::Mailer::server(&url);
    let server = server.map_err(|expected| SMTP_URL.refused(origin, "…", expected))?;
    let (sender, origin) = sender.unwrap_or_else(|| (String::new(), origin));
    let mailer = followup::Mailer::new(server, &sender);
    let mailer = mailer.map_err(|expected| EMAIL_FROM.refused(origin, &*sender, expected))?;
    Ok(Some(mailer))
}
