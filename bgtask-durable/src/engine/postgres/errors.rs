//! Postgres: what an error of the server means for a call that was to be stored, an end, or the start. Must never know a statement.

use crate::OpenError;
use crate::engine::types::Error;
use bgtask::durable::EnqueueError;
use riverqueue::sqlx::postgres::PgConnectOptions;
use std::fmt::Display;
use std::io::ErrorKind;

/// Returns what is known of a job whose insertion failed.
pub(in crate::engine) fn enqueue_error(error: &Error) -> EnqueueError {
    let message = error.to_string();
    match error {
        Error::PoolTimedOut => EnqueueError::store(
            "no connection to the database within 4 s: it cannot be reached, or all are in use"
                .to_owned(),
        ),
        Error::PoolClosed => EnqueueError::Closed,
        Error::Database(error) => match error.code().as_deref().unwrap_or_default() {
            // A lock was held for too long, a deadlock, a conflict, no free connection, the server starts.
            "55P03" | "40P01" | "40001" | "53300" | "57P03" => EnqueueError::Busy,
            // The session was ended, which may have been during the commit.
            code if code.starts_with("57") || code.starts_with("08") => {
                EnqueueError::unknown(message)
            }
            // The statement failed, and its transaction with it.
            _ => EnqueueError::store(message),
        },
        // The connection broke, at whichever statement.
        _ => EnqueueError::unknown(message),
    }
}

/// Whether the server refuses the values of a write, so that it would do so for ever: it does not accept them as JSON, for
/// example because they are nested too deeply, or they break a constraint.
pub(in crate::engine) fn is_refused(error: &Error) -> bool {
    let Error::Database(error) = error else {
        return false;
    };
    let code = error.code();
    let class = code.as_deref().and_then(|code| code.get(..2));
    matches!(class, Some("22" | "23" | "54"))
}

/// sqlx connects to one.
pub(super) const SEVERAL_HOSTS: &str = "it names several hosts: give one address that moves to the server that takes over, such as a name, a virtual address or a proxy";

/// Both URLs have to be those of one database.
pub(super) const OTHER_DATABASE: &str = "the `listen_url`, or BGTASK_LISTEN_URL, is that of another database or schema than the URL of the store: correct one of them";

/// A `listen_url` is there to go around a pooler.
pub(super) const NOT_DIRECT: &str = "the `listen_url`, or BGTASK_LISTEN_URL, leads to a pooler that lends its sessions: give the address of the server itself";

/// Returns the message about options in the URL that a pooler does not hand on.
pub(super) fn ignored_options(options: &str) -> String {
    format!(
        "a pooler keeps `options={options}` of the URL from the server, and jobs would be stored elsewhere: set it for the role with ALTER ROLE, and leave it out of the URL"
    )
}

/// Whether a pooler, such as PgBouncer, refuses the settings of a connection.
pub(super) fn is_refused_parameter(error: &Error) -> bool {
    let Error::Database(error) = error else {
        return false;
    };
    error.message().contains("unsupported startup parameter")
}

/// Whether a table is not there.
pub(super) fn is_missing_table(error: &Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.as_deref() == Some("42P01")
}

/// Returns the error of a database that cannot be opened, with what to do about it.
pub(super) fn open_error(error: Error, options: &PgConnectOptions) -> OpenError {
    let user = options.get_username();
    let database = options.get_database().unwrap_or(user);
    let text = match &error {
        Error::Database(found) => {
            let found = found.message();
            match error
                .as_database_error()
                .and_then(|error| error.code())
                .as_deref()
            {
                Some("28P01" | "28000") => format!(
                    "the server does not accept the user `{user}`, its password or its way of connecting ({found}): correct the URL, or pg_hba.conf"
                ),
                Some("3D000") => format!(
                    "there is no database `{database}` on the server: create it with `createdb {database}`, or correct the URL"
                ),
                Some("42501") => format!(
                    "the user `{user}` lacks a privilege ({found}): open the store once as the owner of the tables, who makes them, and grant `{user}` what docs/durable.md lists"
                ),
                // Prepared by another client, or for another session.
                Some("26000" | "42P05") => format!(
                    "a pooler before the server does not keep prepared statements ({found}): PgBouncer in transaction mode does from version 1.21 on, with `max_prepared_statements` above 0; use that, session mode, or the address of the server itself"
                ),
                _ if is_refused_parameter(&error) => format!(
                    "a pooler before the server refuses the URL's `options` ({found}): set them for the role with ALTER ROLE, and leave them out of the URL"
                ),
                _ => return error.into(),
            }
        }
        Error::Tls(found) => encryption(found),
        // A certificate that is not trusted.
        Error::Io(found) if found.kind() == ErrorKind::InvalidData => encryption(found),
        Error::Io(found) => format!(
            "the server at {} cannot be reached: {found}",
            options.get_socket().map_or_else(
                || format!("{}:{}", options.get_host(), options.get_port()),
                |socket| socket.display().to_string(),
            )
        ),
        _ => return error.into(),
    };
    OpenError::Database(text.into())
}

fn encryption(found: &dyn Display) -> String {
    format!(
        "no encrypted connection to the server ({found}): the feature `tls` of bgtask-durable has to be on, and the server's certificate to be one that the system or `sslrootcert` trusts"
    )
}
