//! The URL of a database as messages and the log show it. Must never connect to one.

/// Returns a URL for a message or a log.
pub(crate) fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        // Of another form, so any part of it may be a password.
        return match url.split_once(':') {
            Some((scheme @ "sqlite", path)) => format!("{scheme}:{path}"),
            Some((scheme, _)) => format!("{scheme}:…"),
            None => url.to_owned(),
        };
    };
    if scheme == "sqlite" {
        return url.to_owned();
    }
    // Everything up to the last `@` before the path may be a part of the password, as the URL may be wrong.
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://…{}", &rest[at..end]),
        None => format!("{scheme}://{}", &rest[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::without_password;

    #[test]
    fn a_url_is_shown_without_its_password() {
        for (url, shown) in [
            ("postgres://ann:secret@host/db", "postgres://…@host/db"),
            ("postgres://ann:se@cr/et@host/db", "postgres://…@host/db"),
            ("postgres://host/db?password=secret", "postgres://host/db"),
            ("postgres:secret", "postgres:…"),
            ("sqlite:///home/a@b/jobs.db", "sqlite:///home/a@b/jobs.db"),
            ("sqlite:jobs.db", "sqlite:jobs.db"),
            ("jobs.db", "jobs.db"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }
}
