//! The tokens of forms: HMAC-SHA-256 over the database, the hour and the actor, with the key that the database keeps. So a form of one
//! process is taken by all of them. Must never know an action.

use crate::inspected::Inspected;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::OnceCell;

/// Comes first in what is signed: a ticket, which the same key signs, is no token.
const PURPOSE: &[u8] = b"bgtask dashboard 1\0";

/// For how many hours a token holds, beside the one in which it was made.
const HOURS: u64 = 24;

/// The length of a new key, in bytes.
const KEY: usize = 32;

/// The key, once it was read.
#[derive(Default)]
pub(super) struct Key(OnceCell<Vec<u8>>);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").finish_non_exhaustive()
    }
}

impl Key {
    async fn read(&self, database: &Inspected) -> Result<&[u8], String> {
        let key = self.0.get_or_try_init(|| async {
            let mut new = [0; KEY];
            getrandom::fill(&mut new)
                .map_err(|error| format!("The system has no random bytes: {error}"))?;
            let new = URL_SAFE_NO_PAD.encode(new);
            let kept = database
                .ask(move |database| async move { database.ticket_key(&new).await })
                .await?;
            // As the tickets' keys: of either alphabet, of which only the bytes count here.
            (kept.len() >= KEY)
                .then(|| kept.into_bytes())
                .ok_or_else(|| {
                    "The `ticket_key` in the table `bgtask_instance` is too short.".to_owned()
                })
        });
        key.await.map(Vec::as_slice)
    }

    /// Returns a token for an actor.
    pub(super) async fn token(&self, database: &Inspected, actor: &str) -> Result<String, String> {
        let key = self.read(database).await?;
        let hour = hour();
        let mac = mac(key, database.instance(), hour, actor).ok_or("The key cannot sign.")?;
        let mut token = hour.to_be_bytes().to_vec();
        token.extend(mac.finalize().into_bytes());
        Ok(URL_SAFE_NO_PAD.encode(token))
    }

    /// Returns whether a token was made for this actor, and not too long ago.
    pub(super) async fn is_token(&self, database: &Inspected, actor: &str, token: &str) -> bool {
        let Ok(key) = self.read(database).await else {
            return false;
        };
        let Ok(token) = URL_SAFE_NO_PAD.decode(token) else {
            return false;
        };
        let Some((made, signature)) = token.split_first_chunk::<8>() else {
            return false;
        };
        let made = u64::from_be_bytes(*made);
        // The clock of the process that made it may be ahead.
        let age = (hour() + 1).checked_sub(made);
        // Compared in constant time: a forger learns nothing of how much was right.
        age.is_some_and(|age| age <= HOURS + 1)
            && mac(key, database.instance(), made, actor)
                .is_some_and(|mac| mac.verify_slice(signature).is_ok())
    }
}

fn hour() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs() / 3600
}

fn mac(key: &[u8], instance: &str, hour: u64, actor: &str) -> Option<Hmac<Sha256>> {
    // It takes a key of any length.
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(PURPOSE);
    mac.update(instance.as_bytes());
    mac.update(b"\0");
    mac.update(&hour.to_be_bytes());
    mac.update(actor.as_bytes());
    Some(mac)
}
