//! Postgres: whether the sessions behind a URL are those of a server, or of a pooler that lends one for a transaction at a time.
//! Must never know a table.

use super::{errors, limited};
use crate::OpenError;
use crate::engine::types::Error;
use crate::engine::without_password;
use riverqueue::sqlx::postgres::PgConnectOptions;
use riverqueue::sqlx::{
    self, AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, Row as _,
};

/// Set beside the settings, to see whether they arrive.
const MARK: (&str, &str) = ("bgtask.settings", "arrived");

/// The settings of a session, whatever the server's own defaults.
const SETTINGS: [(&str, &str); 6] = [
    // No notices of what is there already.
    ("client_min_messages", "warning"),
    // A lock that is held for longer is reported, and the statement tried again.
    ("lock_timeout", "4s"),
    // The server gives up a client whose machine is gone, and with it the row locks. In the other direction sqlx has no
    // keep-alives: there each wait has a limit.
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
    // A process that is stopped within a transaction, by a signal or a debugger, keeps the rows of its jobs locked no longer.
    ("idle_in_transaction_session_timeout", "10s"),
];

/// How often the sessions of two connections are compared. Behind a pooler that others use as well, one time may not show that
/// the sessions are lent.
const ROUNDS: usize = 8;

/// How sessions are opened at one address.
#[derive(Clone, Debug)]
pub(super) struct Sessions {
    pub(super) options: PgConnectOptions,
    /// Another transaction of the same connection may be in another session. What belongs to a session is lost then: what it
    /// listens for, its settings and its locks.
    pub(super) are_lent: bool,
    /// A pooler drops the settings of the connection, and the sessions last: they are made in each session.
    are_set_later: bool,
    /// A lock may be waited for as long as it is held.
    pub(super) have_no_limits: bool,
}

impl Sessions {
    /// Connects, and finds out how the sessions at this address behave.
    pub(super) async fn examine(url: &str) -> Result<(Self, PgConnection), OpenError> {
        let refused = |message| OpenError::Url {
            url: without_password(url),
            message,
        };
        let names_several = || refused(errors::SEVERAL_HOSTS.to_owned());
        let plain: PgConnectOptions = url.parse().map_err(|error: Error| {
            if without_password(url).contains(',') {
                return names_several();
            }
            refused(error.to_string())
        })?;
        if plain.get_host().contains(',') {
            return Err(names_several());
        }
        // Since Postgres 12 its default returns every digit, and a pooler may refuse what it does not know.
        let plain = plain.extra_float_digits(None);
        let set = plain.clone().options(SETTINGS).options([MARK]);
        let connected = limited(set.connect()).await;
        let (options, mut connection) = match connected {
            Err(error) if errors::is_refused_parameter(&error) && plain.get_options().is_none() => {
                let connected = limited(plain.connect()).await;
                (
                    plain.clone(),
                    connected.map_err(|error| errors::open_error(error, &plain))?,
                )
            }
            connected => {
                let connection = connected.map_err(|error| errors::open_error(error, &set))?;
                (set, connection)
            }
        };
        let mut sessions = Self {
            options,
            are_lent: false,
            are_set_later: false,
            have_no_limits: false,
        };
        let examined = limited(sessions.look(&mut connection)).await;
        let has_settings =
            examined.map_err(|error| errors::open_error(error, &sessions.options))?;
        if !has_settings {
            if let Some(options) = plain.get_options() {
                return Err(OpenError::Database(errors::ignored_options(options).into()));
            }
            sessions.options = plain;
            sessions.are_set_later = !sessions.are_lent;
        }
        Ok((sessions, connection))
    }

    /// Returns whether the settings of the connection have arrived.
    async fn look(&mut self, connection: &mut PgConnection) -> Result<bool, Error> {
        // Without a prepared statement, which a pooler may not keep.
        let row = sqlx::raw_sql(
            "SELECT coalesce(current_setting('bgtask.settings', true), '') = 'arrived', current_setting('lock_timeout') = '0'",
        )
        .fetch_one(&mut *connection)
        .await?;
        let has_settings = row.try_get(0)?;
        self.have_no_limits = row.try_get(1)?;
        // No pooler that lends sessions is known to hand all settings on.
        let rounds = if has_settings { 1 } else { ROUNDS };
        self.are_lent = are_lent(connection, &self.options, rounds).await?;
        Ok(has_settings)
    }

    /// Opens a session.
    pub(super) async fn connect(&self) -> Result<PgConnection, Error> {
        limited(async {
            let mut connection = self.options.connect().await?;
            self.set(&mut connection).await?;
            Ok(connection)
        })
        .await
    }

    /// Makes the settings in a new session, if they did not arrive with the connection.
    pub(super) async fn set(&self, connection: &mut PgConnection) -> Result<(), Error> {
        if self.are_set_later {
            let settings: String = SETTINGS
                .iter()
                .map(|(name, value)| format!("SET {name} = '{value}';"))
                .collect();
            // Nothing in it is of the user's.
            sqlx::raw_sql(AssertSqlSafe(settings))
                .execute(connection)
                .await?;
        }
        Ok(())
    }
}

/// Whether two transactions of one connection may be in two sessions.
async fn are_lent(
    first: &mut PgConnection,
    options: &PgConnectOptions,
    rounds: usize,
) -> Result<bool, Error> {
    let mut second = options.connect().await?;
    for _ in 0..rounds {
        // No transaction: of many processes that start at once, each would hold a session and wait for another one.
        let before = session(first).await?;
        if before == session(&mut second).await? || before != session(first).await? {
            return Ok(true);
        }
    }
    // Nobody waits for the answer.
    let _ = second.close().await;
    Ok(false)
}

/// Returns the number of the session, by a prepared statement: each pooler that is used has to keep those.
async fn session(connection: &mut PgConnection) -> Result<i32, Error> {
    // With a parameter: behind a pooler that mixes prepared statements up, hardly any other statement has the same.
    sqlx::query_scalar("SELECT pg_backend_pid() WHERE $1 = 'bgtask'")
        .bind("bgtask")
        .fetch_one(connection)
        .await
}
