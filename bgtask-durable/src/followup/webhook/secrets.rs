//! The secrets of webhooks by name, and the signatures that they make.
//! Must never know where a webhook goes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::collections::BTreeMap;
use std::fmt;

/// The prefix of a secret's text.
const PREFIX: &str = "whsec_";

/// What a secret is.
pub(crate) const EXPECTED: &str = "`whsec_` and the base64 of 24 to 64 random bytes, such as `echo whsec_$(openssl rand -base64 32)` prints";

/// The secrets of one name: the first is current, and the others are being replaced by it.
#[derive(Clone)]
pub(super) struct Keys(Vec<Hmac<Sha256>>);

/// The secrets by name.
#[derive(Clone, Default)]
pub(crate) struct Secrets(BTreeMap<String, Keys>);

/// Returns the name by which a secret is found: that of a variable of the environment has no other letters.
fn normal(name: &str) -> String {
    name.to_ascii_lowercase().replace('-', "_")
}

impl Secrets {
    /// Adds the secrets of a name, unless there are some.
    ///
    /// # Errors
    /// If one is no secret, or there is none: with what is expected, and without any of it.
    pub(crate) fn add<'a>(
        &mut self,
        name: &str,
        texts: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), String> {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if name.is_empty() || !name.bytes().all(is_word) {
            return Err(format!(
                "a name of letters, digits, `-` and `_`, and it is {name:?}"
            ));
        }
        let keys: Option<Vec<_>> = texts.into_iter().map(|text| key(text.trim())).collect();
        match keys {
            Some(keys) if !keys.is_empty() => {
                self.0.entry(normal(name)).or_insert(Keys(keys));
                Ok(())
            }
            _ => Err(format!("{EXPECTED}, for {name:?}")),
        }
    }

    /// Returns the secrets of a name.
    ///
    /// # Errors
    /// If there are none, with the cure.
    pub(super) fn get(&self, name: &str) -> Result<&Keys, String> {
        self.0.get(&normal(name)).ok_or_else(|| {
            let variable = if name == super::DEFAULT {
                "BGTASK_WEBHOOK_SECRET".to_owned()
            } else {
                format!("BGTASK_WEBHOOK_SECRET_{}", normal(name).to_ascii_uppercase())
            };
            format!(
                "this process has no secret {name:?} to sign a webhook with: set {variable}, or `bgtask_durable::builder().webhook_secret({name:?}, […])`, in \
                 each process that works the queue `bgtask-notify`"
            )
        })
    }
}

/// Reads a secret.
fn key(text: &str) -> Option<Hmac<Sha256>> {
    let bytes = STANDARD.decode(text.strip_prefix(PREFIX)?).ok()?;
    if !(24..=64).contains(&bytes.len()) {
        return None;
    }
    Hmac::new_from_slice(&bytes).ok()
}

impl Keys {
    /// Returns the header with a signature of each secret.
    pub(super) fn sign(&self, id: &str, timestamp: u64, body: &str) -> String {
        let signatures = self.0.iter().map(|key| {
            let mut key = key.clone();
            key.update(format!("{id}.{timestamp}.{body}").as_bytes());
            format!("v1,{}", STANDARD.encode(key.finalize().into_bytes()))
        });
        signatures.collect::<Vec<_>>().join(" ")
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::Secrets;

    /// The example of the specification.
    #[test]
    fn a_signature_is_that_of_the_specification() {
        let mut secrets = Secrets::default();
        secrets
            .add("a-b", ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])
            .expect("a secret");
        let signature = secrets.get("A_B").expect("it is there").sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn what_is_no_secret_is_refused_and_not_shown() {
        for text in [
            "",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_",
            "whsec_c2hvcnQ=",
            "whsec_not/base64!not/base64!not/base64!",
        ] {
            let error = Secrets::default()
                .add("x", [text])
                .expect_err("it is refused");
            assert!(error.contains("whsec_"), "{error}");
            assert!(text.len() < 7 || !error.contains(text), "{error}");
        }
        let none: [&str; 0] = [];
        assert!(Secrets::default().add("x", none).is_err());
        assert!(Secrets::default().add("", ["x"]).is_err());
    }
}
