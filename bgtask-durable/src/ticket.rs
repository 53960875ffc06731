//! Signs tickets and checks them: HMAC-SHA-256 over the database, the job, what its holder may see, and until when.
//! Must never know a job or a route.

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::general_purpose::{NO_PAD, URL_SAFE_NO_PAD};
use base64::engine::{DecodePaddingMode, GeneralPurpose};
use bgtask::durable::{JobError, JobId, Ticket};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The length of the keys that we make, and of the shortest one that a program may set, in bytes.
const KEY: usize = 32;

/// Comes first in what is signed, so that a signature of anything else with the same key is no ticket.
const PURPOSE: &[u8] = b"bgtask ticket 1\0";

/// The bytes of a ticket before its signature: what may be seen, the job, and the time in seconds since 1970.
const SIGNED: usize = 1 + 8 + 8;

/// The bytes of a signature.
const SIGNATURE: usize = 32;

/// The keys of tickets: the first signs, and all of them check.
#[derive(Clone)]
pub(crate) struct Keys(Vec<Vec<u8>>);

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.0.len())
    }
}

impl Keys {
    pub(crate) fn new(keys: Vec<Vec<u8>>) -> Self {
        Self(keys)
    }

    /// Returns a new key, or why the system has no random bytes.
    pub(crate) fn generate() -> Result<Self, getrandom::Error> {
        let mut key = vec![0; KEY];
        getrandom::fill(&mut key)?;
        Ok(Self(vec![key]))
    }

    /// Reads keys in base64, of either alphabet and with padding or without, separated by commas.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let config = NO_PAD.with_decode_padding_mode(DecodePaddingMode::Indifferent);
        let decode = |text: &str| {
            let alphabet = if text.contains(['-', '_']) {
                &URL_SAFE
            } else {
                &STANDARD
            };
            GeneralPurpose::new(alphabet, config).decode(text).ok()
        };
        let keys = text.split(',').map(|key| decode(key.trim()));
        keys.collect::<Option<_>>().map(Self)
    }

    /// Returns the first key as [`parse`](Self::parse) reads it.
    pub(crate) fn text(&self) -> String {
        self.0
            .first()
            .map_or_else(String::new, |key| URL_SAFE_NO_PAD.encode(key))
    }

    /// Whether there is one, and none is too short.
    pub(crate) fn are_safe(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|key| key.len() >= KEY)
    }

    /// Returns their number.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// What the holder of a ticket may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) job: JobId,
    /// The value or the error of the job, too.
    pub(crate) with_value: bool,
    /// In seconds since 1970.
    expires: u64,
}

impl Scope {
    /// Returns for how long it holds. `None` if it does not any more.
    pub(crate) fn left(&self, now: SystemTime) -> Option<Duration> {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let left = Duration::from_secs(self.expires).checked_sub(since)?;
        (!left.is_zero()).then_some(left)
    }
}

/// The tickets of one database.
#[derive(Clone, Debug)]
pub(crate) struct Tickets {
    keys: Keys,
    /// Signed, too: a ticket of another database is none here, also if both have the same keys.
    database: Arc<str>,
}

impl Tickets {
    pub(crate) fn new(keys: Keys, database: &str) -> Self {
        Self {
            keys,
            database: database.into(),
        }
    }

    /// Returns those of one test, with a key that is as good as its name.
    pub(crate) fn of_test() -> Self {
        let key = std::iter::repeat_with(|| fastrand::u8(..)).take(KEY);
        Self::new(Keys(vec![key.collect()]), "test")
    }

    pub(crate) fn sign(
        &self,
        job: JobId,
        ttl: Duration,
        with_value: bool,
        now: SystemTime,
    ) -> Result<Ticket, JobError> {
        if ttl.is_zero() {
            return Err(JobError::store(
                "a ticket that holds for no time would be of no use: give it more than zero"
                    .to_owned(),
            ));
        }
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let end = since.saturating_add(ttl);
        let expires = end
            .as_secs()
            .saturating_add(u64::from(end.subsec_nanos() > 0));
        let mut ticket = Vec::with_capacity(SIGNED + SIGNATURE);
        ticket.push(u8::from(with_value));
        ticket.extend(job.get().to_be_bytes());
        ticket.extend(expires.to_be_bytes());
        let signature = self
            .keys
            .0
            .first()
            .and_then(|key| self.mac(key, &ticket))
            .ok_or_else(|| JobError::store("this store has no key for tickets".to_owned()))?;
        ticket.extend(signature.finalize().into_bytes());
        Ok(Ticket::new(URL_SAFE_NO_PAD.encode(ticket)))
    }

    /// Returns what the holder of a ticket may see, also if its time is over. `None` if none of our keys has signed it.
    pub(crate) fn check(&self, text: &str) -> Option<Scope> {
        let ticket = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (signed, signature) = ticket.split_at_checked(SIGNED)?;
        let is_ours = |key: &Vec<u8>| {
            // Compared in constant time: a forger learns nothing of how much was right.
            self.mac(key, signed)
                .is_some_and(|mac| mac.verify_slice(signature).is_ok())
        };
        if !self.keys.0.iter().any(is_ours) {
            return None;
        }
        let (with_value, rest) = signed.split_first()?;
        let (job, expires) = rest.split_at_checked(8)?;
        Some(Scope {
            job: JobId::new(i64::from_be_bytes(job.try_into().ok()?)),
            with_value: *with_value == 1,
            expires: u64::from_be_bytes(expires.try_into().ok()?),
        })
    }

    fn mac(&self, key: &[u8], signed: &[u8]) -> Option<Hmac<Sha256>> {
        // It takes a key of any length.
        let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
        mac.update(PURPOSE);
        mac.update(self.database.as_bytes());
        mac.update(b"\0");
        mac.update(signed);
        Some(mac)
    }
}
