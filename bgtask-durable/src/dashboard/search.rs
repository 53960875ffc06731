//! The search as people write it, in the field and in the address: `fn:shop::send state:dead`.
//! Owns its words and what is wrong with them; must never know a database.

use super::html::encoded;
use crate::engine::{Search, stored_key};
use bgtask::durable::{JobState, is_queue_name};
use serde_json::Value;
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
    pub(super) arguments: Vec<Argument>,
}

/// A condition on an argument as it is shown: the text of the value that is found along a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Argument {
    /// Names of members, or numbers of elements, apart by dots.
    path: String,
    value: String,
}

impl Argument {
    fn holds(&self, arguments: &Value) -> bool {
        let mut found = arguments;
        for part in self.path.split('.') {
            let next = match found {
                Value::Array(elements) => part.parse().ok().and_then(|at: usize| elements.get(at)),
                other => other.get(part),
            };
            match next {
                Some(next) => found = next,
                None => return false,
            }
        }
        let text = match found {
            Value::String(text) => text.clone(),
            Value::Number(_) | Value::Bool(_) | Value::Null => found.to_string(),
            Value::Object(_) | Value::Array(_) => return false,
        };
        text == self.value
    }
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

    /// Returns whether all conditions on arguments hold for these.
    pub(super) fn holds_for(&self, arguments: &Value) -> bool {
        self.arguments.iter().all(|one| one.holds(arguments))
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        if value.is_empty() {
            return Err(format!("There is nothing after `{name}:`."));
        }
        if let Some(path) = name.strip_prefix("args.") {
            return self.set_argument(path, value);
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

    fn set_argument(&mut self, path: &str, value: &str) -> Result<(), String> {
        if path.split('.').any(str::is_empty) || path.contains(char::is_whitespace) {
            return Err(format!(
                "`args.{path}` names no argument: write `args.` and names, apart by dots, such as args.order.id:7."
            ));
        }
        if self.arguments.iter().any(|other| other.path == path) {
            return Err(format!("`args.{path}:` stands twice."));
        }
        self.arguments.push(Argument {
            path: path.to_owned(),
            value: value.to_owned(),
        });
        Ok(())
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
        "The search does not know `{word}`: write fn:, queue:, state:, key:, error: or args.NAME:, each with its value, such as \
         state:dead error:\"timed out\"."
    )
}

/// As it is written.
impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [
            ("fn", self.function.as_deref()),
            ("queue", self.queue.as_deref()),
            ("state", self.state.map(|state| state.as_str())),
            ("key", self.key.as_deref()),
            ("error", self.error.as_deref()),
        ];
        let words = words.map(|(name, value)| Some((name.to_owned(), value?)));
        let arguments = self
            .arguments
            .iter()
            .map(|one| (format!("args.{}", one.path), one.value.as_str()));
        let mut is_first = true;
        for (name, value) in words.into_iter().flatten().chain(arguments) {
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
            "state:dead args.order.id:7 args.to.0:\"a b\"",
        ] {
            assert_eq!(Query::parse(text).expect(text).to_string(), text);
        }
        let query = Query::parse("  state:dead   fn:a::b ").expect("it is one");
        assert_eq!(query.to_string(), "fn:a::b state:dead");
    }

    #[test]
    fn an_argument_is_compared_by_its_text() {
        let arguments = serde_json::json!({ "order": { "id": 7, "lines": ["a", 2.5] }, "paid": true, "by": null });
        for (search, holds) in [
            ("args.order.id:7", true),
            ("args.order.id:70", false),
            ("args.order.lines.0:a", true),
            ("args.order.lines.1:2.5 args.paid:true args.by:null", true),
            ("args.order.lines.2:a", false),
            ("args.order.id:7 args.paid:false", false),
            ("args.order:7", false),
            ("args.id:7", false),
        ] {
            let query = Query::parse(search).expect(search);
            assert_eq!(query.holds_for(&arguments), holds, "{search}");
        }
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
            ("args.:7", "names no argument"),
            ("args.a..b:7", "names no argument"),
            ("args.a b:7", "names no argument"),
            ("args.a:7 args.a:8", "twice"),
            ("args.a:", "nothing after"),
            (&"x".repeat(501), "more than 500"),
        ] {
            let error = Query::parse(text).expect_err(text);
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
