//! E-mails: the target of a call, and one delivery: rendered, and passed to the mail server.
//! Must never know another channel, or how often a delivery is tried.

use super::{DeliveryError, JobEnd};
use bgtask::durable::Notify;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use minijinja::{Environment, UndefinedBehavior};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::fmt;
use std::time::Duration;

/// The name of the channel.
pub(super) const CHANNEL: &str = "email";

/// How long the mail server may take to answer each command.
const ANSWER: Duration = Duration::from_secs(20);

const SUBJECT: &str = "{{ function }}: job {{ job }} is {{ state }}";
const TEXT: &str =
    "Job {{ job }} of {{ function }} is {{ state }}.\n{% if error %}\n{{ error }}\n{% endif %}";

/// An e-mail about the end of a job, for [`Enqueue::notify`](bgtask::durable::Enqueue::notify) and
/// `durable(notify = …)`.
///
/// The subject and the bodies are templates of [minijinja](https://docs.rs/minijinja), whose syntax is that of Jinja. They know the
/// members of [`JobEnd`](crate::JobEnd), such as `state`, `error` and, if a template names it, `value`. It is sent by
/// [`Builder::smtp_url`](crate::Builder::smtp_url). A delivery that fails is tried again, for about a day. The e-mail may come twice, with the
/// same `Message-ID`.
///
/// # Examples
/// ```no_run
/// use bgtask_durable::Email;
///
/// #[bgtask::background(durable)]
/// async fn build_report(month: u8) -> String {
///     // …
/// #   month.to_string()
/// }
///
/// # async fn request() -> Result<(), bgtask::durable::EnqueueError> {
/// let email = Email::to("Ann <ann@example.com>")
///     .subject("Your report is {{ state }}")
///     .template("{% if value %}It is at {{ value }}{% else %}We are sorry: {{ error }}{% endif %}");
/// build_report(7).notify(email).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing follows until it is given to `notify`"]
pub struct Email(To);

/// The data that a delivery needs.
#[derive(Clone, Serialize, Deserialize)]
struct To {
    address: String,
    subject: Option<String>,
    text: Option<String>,
    html: Option<String>,
}

impl fmt::Debug for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("To")
            .field("address", &format_args!("{} bytes", self.address.len()))
            .finish_non_exhaustive()
    }
}

/// Returns an e-mail about the end of a job: [`Email::to`].
pub fn email(address: impl Into<String>) -> Email {
    Email::to(address)
}

impl Email {
    /// Returns an e-mail to this address, such as `ann@example.com` or `Ann <ann@example.com>`.
    pub fn to(address: impl Into<String>) -> Self {
        Self(To {
            address: address.into(),
            subject: None,
            text: None,
            html: None,
        })
    }

    /// Sets the template of the subject. Default: the function, the job and its state.
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.0.subject = Some(subject.into());
        self
    }

    /// Sets the template of the plain text. Default: the function, the job, its state, and its error if it is dead.
    pub fn template(mut self, text: impl Into<String>) -> Self {
        self.0.text = Some(text.into());
        self
    }

    /// Sets the template of the same as HTML, in which all that is inserted is escaped. Default: none.
    pub fn html_template(mut self, html: impl Into<String>) -> Self {
        self.0.html = Some(html.into());
        self
    }
}

impl To {
    fn templates(&self) -> impl Iterator<Item = &String> {
        [&self.subject, &self.text, &self.html]
            .into_iter()
            .flatten()
    }

    /// Returns the address, or what is wrong with it.
    fn mailbox(&self) -> Result<Mailbox, String> {
        mailbox(&self.address)
    }
}

/// Returns an address, or what is wrong with it.
fn mailbox(address: &str) -> Result<Mailbox, String> {
    // A line break would begin another header.
    if address.contains(char::is_control) {
        return Err("the address of an e-mail contains a control character".to_owned());
    }
    let parsed = address.parse();
    parsed.map_err(|error| format!("the address of an e-mail is none: {error}"))
}

impl From<Email> for Notify {
    fn from(Email(to): Email) -> Self {
        let environment = Environment::new();
        let wrong = to.templates().find_map(|template| {
            let compiled = environment.template_from_str(template);
            compiled
                .err()
                .map(|error| format!("a template of an e-mail is wrong: {error}"))
        });
        if let Some(reason) = to.mailbox().err().or(wrong) {
            return Notify::refused(reason);
        }
        // A value may be large, so it is stored again for those only that show it.
        let with_value = to.templates().any(|template| template.contains("value"));
        Notify::to(CHANNEL, &to, with_value)
    }
}

/// What is expected of the URL of a mail server, and of a sender.
pub(crate) const EXPECTED_URL: &str = "the URL of a mail server, such as `smtps://user:password@smtp.example.com`, or with STARTTLS \
    `smtp://smtp.example.com:587?tls=required`; encode other characters with `%`";
pub(crate) const EXPECTED_SENDER: &str = "an address, such as `Shop <shop@example.com>`";

/// The mail server and the sender.
#[derive(Clone)]
pub(crate) struct Mailer {
    server: AsyncSmtpTransport<Tokio1Executor>,
    sender: Mailbox,
}

impl Mailer {
    /// Returns a mail server.
    ///
    /// # Errors
    /// If the URL is wrong.
    pub(crate) fn server(url: &str) -> Result<AsyncSmtpTransport<Tokio1Executor>, &'static str> {
        let server = AsyncSmtpTransport::<Tokio1Executor>::from_url(url);
        Ok(server
            .map_err(|_| EXPECTED_URL)?
            .timeout(Some(ANSWER))
            .build())
    }

    /// # Errors
    /// If the sender is no address.
    pub(crate) fn new(
        server: AsyncSmtpTransport<Tokio1Executor>,
        sender: &str,
    ) -> Result<Self, &'static str> {
        let sender = mailbox(sender).map_err(|_| EXPECTED_SENDER)?;
        Ok(Self { server, sender })
    }
}

impl fmt::Debug for Mailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The server has a password.
        f.debug_struct("Mailer")
            .field("sender", &self.sender)
            .finish_non_exhaustive()
    }
}

/// The channel.
pub(super) struct Emails(pub(super) Option<Mailer>);

const NO_SERVER: &str = "this process has no mail server: set BGTASK_SMTP_URL and BGTASK_EMAIL_FROM, or `bgtask_durable::builder().smtp_url(…).email_from(…)`, \
    in each process that works the queue `bgtask-notify`";

impl Emails {
    /// Checks a target before it is stored with a call.
    pub(super) fn check(&self) -> Result<(), String> {
        match &self.0 {
            Some(_) => Ok(()),
            None => Err(NO_SERVER.to_owned()),
        }
    }

    /// Sends the end of a job.
    pub(super) async fn deliver(
        &self,
        id: &str,
        end: &JobEnd,
        to: &RawValue,
    ) -> Result<(), DeliveryError> {
        let Some(mailer) = &self.0 else {
            return Err(DeliveryError::new(NO_SERVER));
        };
        let message = message(mailer, id, end, to).map_err(DeliveryError::of_target)?;
        let sent = mailer.server.send(message).await;
        sent.map(drop).map_err(|error| {
            DeliveryError::new(format!("the mail server did not take the e-mail: {error}"))
        })
    }
}

/// Renders an e-mail.
fn message(mailer: &Mailer, id: &str, end: &JobEnd, to: &RawValue) -> Result<Message, String> {
    let to: To = serde_json::from_str(to.get())
        .map_err(|error| format!("the target does not decode: {error}"))?;
    let mut environment = Environment::new();
    // A dead job has no value, and its e-mail is sent all the same.
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    let known = serde_json::to_string(end).and_then(|end| serde_json::from_str(&end));
    let known: minijinja::Value = known.map_err(|error| error.to_string())?;
    // The end of the name decides what is escaped.
    let render = |name: &str, template: &str| {
        environment
            .render_named_str(name, template, known.clone())
            .map_err(|error| format!("the template of an e-mail cannot be rendered: {error:#}"))
    };
    let subject = render("subject.txt", to.subject.as_deref().unwrap_or(SUBJECT))?;
    // What is inserted may hold line breaks, which would begin another header.
    let subject = subject.replace(char::is_control, " ");
    let text = render("text.txt", to.text.as_deref().unwrap_or(TEXT))?;
    let html = to
        .html
        .as_ref()
        .map(|html| render("body.html", html))
        .transpose()?;
    let header = |name: &'static str, value: String| {
        HeaderValue::new(HeaderName::new_from_ascii_str(name), value)
    };
    let message = Message::builder()
        .from(mailer.sender.clone())
        .to(to.mailbox()?)
        .subject(subject.trim())
        .message_id(Some(format!("<{id}@{}>", mailer.sender.email.domain())))
        .raw_header(header("Auto-Submitted", "auto-generated".to_owned()))
        .raw_header(header("X-Bgtask-Job", end.job.to_string()))
        .raw_header(header("X-Bgtask-Attempt", end.attempt.to_string()))
        .raw_header(header("X-Bgtask-Version", end.version.to_string()));
    let message = match html {
        Some(html) => message.multipart(MultiPart::alternative_plain_html(text, html)),
        None => message.singlepart(
            SinglePart::builder()
                .header(ContentType::TEXT_PLAIN)
                .body(text),
        ),
    };
    message.map_err(|error| format!("the e-mail cannot be made: {error}"))
}

#[cfg(test)]
mod tests {
    use super::{Email, Mailer, message};
    use crate::followup::JobEnd;
    use bgtask::durable::{JobId, JobState};
    use serde_json::value::{RawValue, to_raw_value};

    fn end(value: Option<&str>, error: Option<&str>) -> JobEnd {
        JobEnd {
            job: JobId::new(7),
            function: "shop::report".to_owned(),
            state: if value.is_some() {
                JobState::Done
            } else {
                JobState::Dead
            },
            attempt: 2,
            version: 6,
            at: "2026-12-01T00:00:00.000Z".to_owned(),
            error: error.map(str::to_owned),
            value: value.map(|value| RawValue::from_string(value.to_owned()).expect("JSON")),
            store: "abc".to_owned(),
        }
    }

    fn rendered(email: Email, end: &JobEnd) -> String {
        let server = Mailer::server("smtp://127.0.0.1").expect("a URL");
        let mailer = Mailer::new(server, "Shop <shop@example.com>").expect("a sender");
        let to = to_raw_value(&email.0).expect("it encodes");
        let message = message(&mailer, "abc_7_6_0", end, &to).expect("an e-mail");
        String::from_utf8(message.formatted()).expect("ASCII")
    }

    /// Sentence 16.15.
    #[test]
    fn what_is_inserted_becomes_no_header_and_no_html() {
        let email = Email::to("Ann <ann@example.com>")
            .subject("{{ value.title }}")
            .template("{{ value.title }}")
            .html_template("<b>{{ value.title }}</b>");
        let value = r#"{"title":"a\r\nBcc: eve@example.com\r\n\r\n<script>"}"#;
        let text = rendered(email, &end(Some(value), None));
        let (headers, body) = text.split_once("\r\n\r\n").expect("headers and a body");
        assert!(
            headers.contains("Subject: a  Bcc: eve@example.com    <script>\r\n"),
            "{headers}"
        );
        assert!(!headers.to_lowercase().contains("\r\nbcc:"), "{headers}");
        assert!(
            headers.contains("Message-ID: <abc_7_6_0@example.com>\r\n"),
            "{headers}"
        );
        assert!(body.contains("&lt;script&gt;</b>"), "{body}");
    }

    #[test]
    fn without_templates_it_says_what_has_ended_and_why() {
        let text = rendered(Email::to("ann@example.com"), &end(None, Some("no paper")));
        assert!(
            text.contains("Subject: shop::report: job 7 is dead\r\n"),
            "{text}"
        );
        assert!(text.contains("X-Bgtask-Version: 6\r\n"), "{text}");
        assert!(
            text.contains("Job 7 of shop::report is dead.\r\n\r\nno paper"),
            "{text}"
        );
        // A dead job has no value, which is no reason to send nothing.
        let email = Email::to("ann@example.com").template("{{ value.total }} for {{ job }}");
        let text = rendered(email, &end(None, None));
        assert!(text.ends_with("\r\n\r\n for 7\r\n"), "{text}");
    }
}
