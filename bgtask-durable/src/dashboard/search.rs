//! The search as people write it, in the field and in the address: `fn:shop::send state:dead`.
//! Owns its words and what is wrong with them; must never know a database.

use super::html::encoded;
use crate::engine::{Search, stored_key};
use bgtask::durable::{JobState, is_queue_name};
use std::fmt;

/// The longest search, in characters.
const LONGEST: usize = 500;

/// A search that is well-formed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) function: Option<String>,
    pub(super) queue: Option<String>,
    pub(super) state: Option<JobState>,
    pub(super) key: Option<String>,
    pub(super) error: Option<String>,
}

impl Query {
    /// Returns the search for the jobs that wait in a queue.
    pub(super) fn waiting_in(queue: &str) -> Self {
        Self {
            queue: Some(queue.to_owned()),
            state: Some(JobState::Waiting),
            ..Self::default()
        }
    }

    /// Reads a search, or says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.chars().count() > LONGEST {
            return Err(format!("The search has more than {LONGEST} characters."));
        }
        let mut query = Self::default();
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let Some((name, after)) = rest.split_once(':') else {
                return Err(unknown(rest));
            };
            let (value, next) = match after.strip_prefix('"') {
                Some(quoted) => quoted
                    .split_once('"')
                    .ok_or_else(|| format!("The quotation after `{name}:` does not end."))?,
                None => after.split_once(char::is_whitespace).unwrap_or((after, "")),
            };
            query.set(name, value)?;
            rest = next.trim_start();
        }
        if query.key.is_some() && query.function.is_none() {
            return Err("A key is one of a function: add `fn:` to `key:`.".to_owned());
        }
        Ok(query)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        if value.is_empty() {
            return Err(format!("There is nothing after `{name}:`."));
        }
        let field = match name {
            "fn" => &mut self.function,
            "queue" if is_queue_name(value) => &mut self.queue,
            "queue" => return Err(format!("No queue can have the name `{value}`.")),
            "key" => &mut self.key,
            "error" => &mut self.error,
            "state" => {
                let state = JobState::ALL
                    .into_iter()
                    .find(|state| state.as_str() == value);
                let state = state.ok_or_else(|| {
                    let words = JobState::ALL.map(JobState::as_str).join(", ");
                    format!("`{value}` is no state: there are {words}.")
                })?;
                return match self.state.replace(state) {
                    Some(_) => Err("`state:` stands twice.".to_owned()),
                    None => Ok(()),
                };
            }
            other => return Err(unknown(other)),
        };
        match field.replace(value.to_owned()) {
            Some(_) => Err(format!("`{name}:` stands twice.")),
            None => Ok(()),
        }
    }

    /// Returns the same search for another state.
    pub(super) fn in_state(&self, state: Option<JobState>) -> Self {
        Self {
            state,
            ..self.clone()
        }
    }

    /// Returns the search as the database takes it, for the jobs below an id.
    pub(super) fn search(&self, before: Option<i64>) -> Search {
        let key = self.function.as_deref().zip(self.key.as_deref());
        Search {
            function: self.function.clone(),
            queue: self.queue.clone(),
            state: self.state,
            key: key.map(|(function, key)| stored_key(function, key)),
            error: self.error.clone(),
            before,
        }
    }

    /// Returns the address of the list, relative to that of another page.
    pub(super) fn link(&self, root: &str, before: Option<i64>) -> String {
        let mut link = format!("{root}jobs?q={}", encoded(&self.to_string()));
        if let Some(before) = before {
            link += &format!("&before={before}");
        }
        link
    }
}

fn unknown(word: &str) -> String {
    let word = word.split_whitespace().next().unwrap_or_default();
    format!(
        "The search does not know `{word}`: write fn:, queue:, state:, key: or error:, each with its value, such as \
         state:dead error:\"timed out\"."
    )
}

/// As it is written.
impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.map(|state| state.as_str().to_owned());
        let mut is_first = true;
        for (name, value) in [
            ("fn", &self.function),
            ("queue", &self.queue),
            ("state", &state),
            ("key", &self.key),
            ("error", &self.error),
        ] {
            let Some(value) = value else { continue };
            if !std::mem::take(&mut is_first) {
                f.write_str(" ")?;
            }
            if value.contains(char::is_whitespace) {
                write!(f, "{name}:\"{value}\"")?;
            } else {
                write!(f, "{name}:{value}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_reads_what_it_writes() {
        for text in [
            "",
            "fn:shop::send queue:mail state:dead key:7 error:\"timed out\"",
            "fn:a::b",
        ] {
            assert_eq!(Query::parse(text).expect(text).to_string(), text);
        }
        let query = Query::parse("  state:dead   fn:a::b ").expect("it is one");
        assert_eq!(query.to_string(), "fn:a::b state:dead");
    }

    #[test]
    fn a_wrong_search_says_what_is_wrong() {
        for (text, reason) in [
            ("lost", "does not know `lost`"),
            ("size:7", "does not know `size`"),
            ("state:lost", "is no state"),
            ("fn:", "nothing after"),
            ("error:\"open", "does not end"),
            ("fn:a fn:b", "twice"),
            ("key:7", "add `fn:`"),
            (&"x".repeat(501), "more than 500"),
        ] {
            let error = Query::parse(text).expect_err(text);
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
