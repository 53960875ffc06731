//! The arguments of the attributes: one table of keywords each, and what every keyword takes for a value.
//! Knows nothing of the function; what an option may be combined with is said where the function is known.

use crate::errors::Errors;
use crate::literal::duration;
use crate::policies::{self, POLICIES, PolicyOptions, SCHEDULES};
use proc_macro2::{Delimiter, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote_spanned};
use std::time::Duration;
use syn::{Expr, LitBool, LitInt, LitStr, Path};

/// A keyword: its name, what to write, and how its value is taken in.
pub(crate) struct Keyword<O> {
    pub(crate) name: &'static str,
    pub(crate) example: &'static str,
    pub(crate) set: fn(&mut O, &Entry) -> syn::Result<()>,
}

const NAME: &[Keyword<TaskOptions>] = &[Keyword {
    name: "name",
    example: r#"name = "…""#,
    set: |options, entry| entry.name().map(|name| options.name = Some(name)),
}];

/// The options of functions and blocks alike, except the policies.
const CALL: &[Keyword<TaskOptions>] = &[
    Keyword {
        name: "log",
        example: r#"log = "info""#,
        set: |options, entry| entry.choice(LOG).map(|log| options.log = Some(log)),
    },
    Keyword {
        name: "on_shutdown",
        example: r#"on_shutdown = "cancel""#,
        set: |options, entry| {
            let choice = entry.choice(ON_SHUTDOWN)?;
            options.on_shutdown = Some(choice);
            Ok(())
        },
    },
    Keyword {
        name: "warn_after",
        example: r#"warn_after = "30s""#,
        set: |options, entry| {
            options.warn_after = Some(WarnAfter::read(entry)?);
            Ok(())
        },
    },
];

const CRATE: &[Keyword<TaskOptions>] = &[Keyword {
    name: "crate",
    example: r#"crate = "crate::…""#,
    set: |options, entry| entry.crate_path().map(|path| options.krate = path),
}];

/// The option tables of `#[background]`.
const BACKGROUND: &[&[Keyword<TaskOptions>]] = &[NAME, CALL, CRATE, POLICIES, SCHEDULES];

/// The option tables of `spawn!`.
const SPAWN: &[&[Keyword<TaskOptions>]] = &[CALL, POLICIES];

/// The options of `#[background]` that `spawn!` refuses, and what to write instead.
const REFUSED_BY_SPAWN: &[(&[&str], &str)] = &[
    (
        &["name"],
        "the name of a block is the first argument: `spawn!(\"sync\", …)`",
    ),
    (
        &["crate"],
        "`spawn!` knows the crate that it comes from: drop `crate`",
    ),
    (
        &["every", "cron"],
        "a block runs where it is called, and not by the clock: give the body to a function with \
         `#[background({key} = …)]`",
    ),
    (
        &["on_start"],
        "a block runs where it is called: give the body to a function with `#[background(on_start)]`, or put this \
         call at the start of `main`",
    ),
    (
        &["restart"],
        "`restart` starts again what runs `on_start`, and a block runs where it is called: write `retry(…)`, or give the \
         body to a function with `#[background(on_start, restart)]`",
    ),
    (
        &["timezone", "overlap", "missed", "jitter", "immediately"],
        "`{key}` is about schedules, and a block runs where it is called: drop it",
    ),
];

const MAIN: &[Keyword<MainOptions>] = &[
    Keyword {
        name: "flavor",
        example: r#"flavor = "current_thread""#,
        set: |options, entry| {
            let choice = entry.choice(FLAVOR)?;
            options.flavor = Some(choice);
            Ok(())
        },
    },
    Keyword {
        name: "worker_threads",
        example: "worker_threads = 4",
        set: |options, entry| {
            let count = entry.count()?;
            options.worker_threads = Some(count);
            Ok(())
        },
    },
    Keyword {
        name: "grace",
        example: r#"grace = "25s""#,
        set: |options, entry| entry.duration().map(|grace| options.grace = Some(grace)),
    },
    Keyword {
        name: "warn_after",
        example: r#"warn_after = "30s""#,
        set: |options, entry| {
            if entry.string()?.value() == "never" {
                let so_already = "`\"never\"` is what holds without `warn_after`: leave it out";
                return Err(entry.wrong(so_already));
            }
            options.warn_after = Some(entry.positive()?);
            Ok(())
        },
    },
    Keyword {
        name: "dump",
        example: r#"dump = "SIGUSR1""#,
        set: |options, entry| entry.choice(DUMP).map(|dump| options.dump = Some(dump)),
    },
    Keyword {
        name: "crate",
        example: r#"crate = "crate::…""#,
        set: |options, entry| entry.crate_path().map(|path| options.krate = path),
    },
];

const TEST: &[Keyword<TestOptions>] = &[
    Keyword {
        name: "flavor",
        example: r#"flavor = "multi_thread""#,
        set: |options, entry| {
            let choice = entry.choice(FLAVOR)?;
            options.flavor = Some(choice);
            Ok(())
        },
    },
    Keyword {
        name: "worker_threads",
        example: "worker_threads = 2",
        set: |options, entry| {
            let count = entry.count()?;
            options.worker_threads = Some(count);
            Ok(())
        },
    },
    Keyword {
        name: "start_paused",
        example: "start_paused = true",
        set: |options, entry| {
            let paused = entry.boolean()?;
            options.start_paused = paused.value.then_some(paused.span);
            Ok(())
        },
    },
    Keyword {
        name: "drain",
        example: r#"drain = "5s""#,
        set: |options, entry| entry.duration().map(|drain| options.drain = Some(drain)),
    },
    Keyword {
        name: "wait",
        example: r#"wait = "1m""#,
        set: |options, entry| entry.positive().map(|wait| options.wait = Some(wait)),
    },
    Keyword {
        name: "schedules",
        example: "schedules",
        set: |options, entry| {
            entry.alone()?;
            options.schedules = true;
            Ok(())
        },
    },
    Keyword {
        name: "crate",
        example: r#"crate = "crate::…""#,
        set: |options, entry| entry.crate_path().map(|path| options.krate = path),
    },
];

// What the user writes, and the variant it means.
const LOG: &[(&str, &str)] = &[
    ("off", "Off"),
    ("trace", "Trace"),
    ("debug", "Debug"),
    ("info", "Info"),
    ("warn", "Warn"),
    ("error", "Error"),
];
const ON_SHUTDOWN: &[(&str, &str)] = &[
    ("drain", "Drain"),
    ("cancel", "Cancel"),
    ("finish", "Finish"),
];
const FLAVOR: &[(&str, &str)] = &[
    ("multi_thread", "MultiThread"),
    ("current_thread", "CurrentThread"),
];

// Signals that nobody else has a use for, and that do nothing but what the program makes of them.
const DUMP: &[(&str, &str)] = &[("SIGUSR1", "Sigusr1"), ("SIGUSR2", "Sigusr2")];

#[derive(Default)]
pub(crate) struct TaskOptions {
    pub(crate) name: Option<LitStr>,
    pub(crate) log: Option<Choice>,
    pub(crate) on_shutdown: Option<Choice>,
    pub(crate) warn_after: Option<WarnAfter>,
    pub(crate) krate: CratePath,
    pub(crate) policies: PolicyOptions,
}

#[derive(Default)]
pub(crate) struct MainOptions {
    pub(crate) flavor: Option<Choice>,
    pub(crate) worker_threads: Option<usize>,
    pub(crate) grace: Option<Duration>,
    pub(crate) warn_after: Option<Duration>,
    pub(crate) dump: Option<Choice>,
    pub(crate) krate: CratePath,
}

#[derive(Default)]
pub(crate) struct TestOptions {
    pub(crate) flavor: Option<Choice>,
    pub(crate) worker_threads: Option<usize>,
    /// Where that is said.
    pub(crate) start_paused: Option<Span>,
    pub(crate) drain: Option<Duration>,
    pub(crate) wait: Option<Duration>,
    pub(crate) schedules: bool,
    pub(crate) krate: CratePath,
}

/// `warn_after` of a function: a time, or none at all.
pub(crate) struct WarnAfter {
    pub(crate) limit: Option<Duration>,
    /// Where the option is written.
    pub(crate) span: Span,
}

impl WarnAfter {
    fn read(entry: &Entry) -> syn::Result<Self> {
        let never = entry.string()?.value() == "never";
        let limit = match never {
            true => None,
            false => Some(entry.positive_or("\"never\"")?),
        };
        let span = entry.key.span();
        Ok(Self { limit, span })
    }
}

/// The variant an option names.
pub(crate) struct Choice {
    pub(crate) variant: &'static str,
    pub(crate) span: Span,
}

/// Where generated code finds the `bgtask` crate: the path, and the literal it was written in.
#[derive(Default)]
pub(crate) struct CratePath(Option<(Path, Span)>);

impl CratePath {
    /// `::bgtask::__private`, at the span that diagnostics about it shall speak of. What a path of the user's does not
    /// lead to is said where the path is.
    pub(crate) fn private(&self, span: Span) -> TokenStream {
        match &self.0 {
            Some((path, written_at)) => {
                // The place only: written by the user, its length would be a lint of the user's.
                let written_at = Span::call_site().located_at(*written_at);
                let path = respan(path.to_token_stream(), written_at);
                quote_spanned!(span=> #path::__private)
            }
            None => quote_spanned!(span=> ::bgtask::__private),
        }
    }
}

fn respan(tokens: TokenStream, span: Span) -> TokenStream {
    tokens
        .into_iter()
        .map(|mut token| {
            token.set_span(span);
            token
        })
        .collect()
}

pub(crate) fn background(arguments: TokenStream, errors: &mut Errors) -> TaskOptions {
    let mut options = TaskOptions::default();
    options.policies.keys = read(BACKGROUND, arguments, &mut options, errors);
    options
}

/// Reads the options of one call of `spawn!`.
pub(crate) fn spawn(arguments: TokenStream, errors: &mut Errors) -> TaskOptions {
    let mut options = TaskOptions::default();
    options.policies.keys = read_unless(SPAWN, REFUSED_BY_SPAWN, arguments, &mut options, errors);
    options
}

/// Returns whether `spawn!` knows the word as an option, including the options that it refuses.
pub(crate) fn spawn_knows(key: &str) -> bool {
    let mut names = SPAWN.iter().copied().flatten().map(|keyword| keyword.name);
    names.any(|name| name == key) || refusal(REFUSED_BY_SPAWN, key).is_some()
}

fn refusal(refused: &[(&[&str], &str)], key: &str) -> Option<String> {
    let (_, message) = refused.iter().find(|(keys, _)| keys.contains(&key))?;
    Some(message.replace("{key}", key))
}

pub(crate) fn main(arguments: TokenStream, errors: &mut Errors) -> MainOptions {
    let mut options = MainOptions::default();
    let keys = read(&[MAIN], arguments, &mut options, errors);
    let single = options
        .flavor
        .as_ref()
        .is_some_and(|flavor| flavor.variant == "CurrentThread");
    if single && options.worker_threads.is_some() {
        let later = keys
            .iter()
            .rfind(|key| *key == "flavor" || *key == "worker_threads");
        errors.at(
            later.map_or_else(Span::call_site, Ident::span),
            "`worker_threads` and `flavor = \"current_thread\"` exclude each other: that runtime has one thread; \
             drop `worker_threads`",
        );
    }
    options
}

pub(crate) fn test(arguments: TokenStream, errors: &mut Errors) -> TestOptions {
    let mut options = TestOptions::default();
    let keys = read(&[TEST], arguments, &mut options, errors);
    let key = |name: &str| {
        let key = keys.iter().find(|key| *key == name);
        key.map_or_else(Span::call_site, Ident::span)
    };
    let flavor = options.flavor.as_ref();
    let multi = flavor.is_some_and(|flavor| flavor.variant == "MultiThread");
    if !multi && options.worker_threads.is_some() {
        errors.at(
            key("worker_threads"),
            "a test runs on one thread if nothing else is said: add `flavor = \"multi_thread\"`, or drop `worker_threads`",
        );
    }
    if multi && options.start_paused.is_some() {
        errors.at(
            key("start_paused"),
            "time can only be paused on a runtime of one thread: drop `flavor`, or `start_paused`",
        );
    }
    options
}

/// Reads all the arguments and returns the keys, in the order they stand in.
pub(crate) fn read<O>(
    tables: &[&[Keyword<O>]],
    arguments: TokenStream,
    options: &mut O,
    errors: &mut Errors,
) -> Vec<Ident> {
    read_unless(tables, &[], arguments, options, errors)
}

/// Does the same, and rejects some keys with messages of their own.
fn read_unless<O>(
    tables: &[&[Keyword<O>]],
    refused: &[(&[&str], &str)],
    arguments: TokenStream,
    options: &mut O,
    errors: &mut Errors,
) -> Vec<Ident> {
    let mut keys = Vec::new();
    let example = tables[0][0].example;
    for (argument, comma) in split_at_commas(arguments) {
        let Argument { key, given } = match key_and_value(argument, comma, example) {
            Ok(argument) => argument,
            Err(error) => {
                errors.push(error);
                continue;
            }
        };
        if let Some(message) = refusal(refused, &key.to_string()) {
            errors.at(key.span(), message);
            continue;
        }
        let mut keywords = tables.iter().copied().flatten();
        let Some(keyword) = keywords.find(|keyword| key == keyword.name) else {
            errors.at(key.span(), unknown(&key.to_string(), tables));
            continue;
        };
        if keys.contains(&key) {
            errors.at(key.span(), format!("`{key}` is set twice"));
            continue;
        }
        keys.push(key.clone());
        let entry = Entry {
            key,
            given,
            example: keyword.example,
        };
        if let Err(error) = (keyword.set)(options, &entry) {
            errors.push(error);
        }
    }
    keys
}

/// The tokens between the commas, each with the place of the comma that ends them.
fn split_at_commas(arguments: TokenStream) -> Vec<(Vec<TokenTree>, Span)> {
    let mut parts = Vec::new();
    let mut part = Vec::new();
    for token in arguments {
        match &token {
            TokenTree::Punct(punct) if punct.as_char() == ',' => {
                parts.push((std::mem::take(&mut part), punct.span()));
            }
            _ => part.push(token),
        }
    }
    // Nothing is left after a trailing comma, or if there are no arguments at all.
    if !part.is_empty() {
        parts.push((part, Span::call_site()));
    }
    parts
}

struct Argument {
    key: Ident,
    given: Given,
}

/// What stands behind a key.
pub(crate) enum Given {
    Nothing,
    /// `key = value`; without tokens, if the value was forgotten.
    Value(TokenStream),
    /// `key(…)`
    Nested(TokenStream),
}

fn key_and_value(argument: Vec<TokenTree>, comma: Span, example: &str) -> syn::Result<Argument> {
    let mut tokens = argument.into_iter();
    let key = match tokens.next() {
        Some(TokenTree::Ident(key)) => key,
        Some(other) => {
            let message = format!("expected an option such as `{example}`");
            return Err(syn::Error::new(other.span(), message));
        }
        None => {
            let message = format!("expected an option such as `{example}` before this comma");
            return Err(syn::Error::new(comma, message));
        }
    };
    let no_comma =
        |token: &TokenTree| syn::Error::new(token.span(), "expected `,` between two options");
    let given = match tokens.next() {
        None => Given::Nothing,
        // Where a value is wanted, the message about the missing one shows how to write it.
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis => {
            if let Some(second) = tokens.next() {
                return Err(no_comma(&second));
            }
            Given::Nested(group.stream())
        }
        Some(TokenTree::Punct(punct)) if punct.as_char() == '=' => {
            let value: Vec<_> = tokens.collect();
            if let [TokenTree::Literal(_), second, ..] = &value[..]
                && !continues(second)
            {
                return Err(no_comma(second));
            }
            Given::Value(value.into_iter().collect())
        }
        Some(other) => {
            let message = format!("expected `=` and a value after `{key}`");
            return Err(syn::Error::new(other.span(), message));
        }
    };
    Ok(Argument { key, given })
}

/// Whether an expression that begins with a literal can go on like this.
fn continues(second: &TokenTree) -> bool {
    match second {
        TokenTree::Punct(punct) => punct.as_char() != ';',
        TokenTree::Ident(ident) => ident == "as",
        TokenTree::Literal(_) | TokenTree::Group(_) => false,
    }
}

fn unknown<O>(key: &str, tables: &[&[Keyword<O>]]) -> String {
    // Only where the policies are options themselves can one of theirs be in the wrong place.
    if tables.len() > 1
        && let Some(inside) = policies::inside(key)
    {
        return format!("`{key}` is not an option by itself: it goes inside `{inside}`");
    }
    let names = tables.iter().copied().flatten();
    let names = names.map(|keyword| keyword.name);
    if let Some(name) = closest(key, names.clone()) {
        return format!("unknown option `{key}`; did you mean `{name}`?");
    }
    let names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
    let names = names.join(", ");
    match attribute_with(key) {
        Some(attribute) => {
            format!("`{key}` is an option of `#[{attribute}]`; here there are {names}")
        }
        None => format!("unknown option `{key}`; there are {names}"),
    }
}

/// The attribute that has the option.
fn attribute_with(key: &str) -> Option<&'static str> {
    let mut of_background = BACKGROUND.iter().copied().flatten();
    if of_background.any(|keyword| keyword.name == key) {
        return Some("background");
    }
    if MAIN.iter().any(|keyword| keyword.name == key) {
        return Some("bgtask::main");
    }
    TEST.iter()
        .any(|keyword| keyword.name == key)
        .then_some("bgtask::test")
}

pub(crate) struct Entry {
    pub(crate) key: Ident,
    pub(crate) given: Given,
    pub(crate) example: &'static str,
}

impl Entry {
    fn require_value(&self) -> syn::Result<()> {
        if self.tokens().is_empty() {
            let message = format!("`{}` needs a value: `{}`", self.key, self.example);
            return Err(syn::Error::new(self.key.span(), message));
        }
        Ok(())
    }

    /// The value, if there is one.
    pub(crate) fn tokens(&self) -> TokenStream {
        match &self.given {
            Given::Value(value) => value.clone(),
            Given::Nothing | Given::Nested(_) => TokenStream::new(),
        }
    }

    /// An error at the value; at the key, where there is none.
    pub(crate) fn wrong(&self, message: impl std::fmt::Display) -> syn::Error {
        let value = self.tokens();
        if value.is_empty() {
            return syn::Error::new(self.key.span(), message);
        }
        syn::Error::new_spanned(value, message)
    }

    /// Something that the option cannot do without is not there.
    pub(crate) fn missing(&self, example: &str) -> syn::Error {
        let message = format!("`{}` needs `{example}`", self.key);
        syn::Error::new(self.key.span(), message)
    }

    pub(crate) fn expression(&self) -> syn::Result<Expr> {
        self.require_value()?;
        syn::parse2(self.tokens())
    }

    /// Returns `noun`, and where the value is spelt as a constant, such as `MAX`, that only a literal will do.
    fn literal(&self, noun: &str) -> String {
        let is_constant = |path: &Path| {
            let last = path.segments.last().map(|last| last.ident.to_string());
            last.is_some_and(|last| last.starts_with(char::is_uppercase))
        };
        match syn::parse2::<Path>(self.tokens()) {
            Ok(path) if is_constant(&path) => {
                format!("{noun} as a literal, since the macro cannot see a constant's value")
            }
            _ => noun.to_owned(),
        }
    }

    /// A number from this one on.
    fn number_from(&self, least: usize) -> syn::Result<usize> {
        self.require_value()?;
        let literal: LitInt = syn::parse2(self.tokens()).map_err(|_| {
            let number = self.literal("number");
            self.wrong(format!(
                "`{}` takes a {number}: `{}`",
                self.key, self.example
            ))
        })?;
        let too_small = || self.wrong(format!("`{}` must be at least {least}", self.key));
        if literal.base10_digits().starts_with('-') {
            return Err(too_small());
        }
        match literal.base10_parse() {
            Ok(number) if number < least => Err(too_small()),
            // The one reason that is left.
            number => number
                .map_err(|_| self.wrong(format!("`{}` is larger than any machine's", self.key))),
        }
    }

    /// A number from zero.
    pub(crate) fn number(&self) -> syn::Result<usize> {
        self.number_from(0)
    }

    pub(crate) fn string(&self) -> syn::Result<LitStr> {
        self.require_value()?;
        syn::parse2(self.tokens()).map_err(|_| {
            let string = self.literal("string");
            self.wrong(format!(
                "`{}` takes a {string}: `{}`",
                self.key, self.example
            ))
        })
    }

    fn name(&self) -> syn::Result<LitStr> {
        let name = self.string()?;
        if name.value().trim().is_empty() {
            return Err(self.wrong("`name` must not be empty"));
        }
        Ok(name)
    }

    pub(crate) fn choice(&self, choices: &[(&str, &'static str)]) -> syn::Result<Choice> {
        self.require_value()?;
        let literal: Option<LitStr> = syn::parse2(self.tokens()).ok();
        let near = literal.as_ref().and_then(|literal| {
            closest(
                &literal.value(),
                choices.iter().map(|(written, _)| *written),
            )
        });
        let found = literal.and_then(|literal| {
            let value = literal.value();
            let (_, variant) = choices.iter().find(|(written, _)| *written == value)?;
            Some(Choice {
                variant,
                span: literal.span(),
            })
        });
        found.ok_or_else(|| {
            let allowed: Vec<_> = choices
                .iter()
                .map(|(written, _)| format!("{written:?}"))
                .collect();
            let near = near.map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
            let allowed = allowed.join(", ");
            self.wrong(format!("`{}` is one of {allowed}{near}", self.key))
        })
    }

    pub(crate) fn boolean(&self) -> syn::Result<LitBool> {
        self.require_value()?;
        syn::parse2(self.tokens()).map_err(|_| {
            self.wrong(format!(
                "`{}` takes `true` or `false`: `{}`",
                self.key, self.example
            ))
        })
    }

    /// That nothing is said but the word.
    pub(crate) fn alone(&self) -> syn::Result<()> {
        if matches!(self.given, Given::Nothing) {
            return Ok(());
        }
        let key = &self.key;
        let message = format!("`{key}` takes no value: write `{key}` alone");
        Err(syn::Error::new(key.span(), message))
    }

    /// A number from one.
    pub(crate) fn count(&self) -> syn::Result<usize> {
        self.number_from(1)
    }

    pub(crate) fn duration(&self) -> syn::Result<Duration> {
        self.duration_such_as("\"30s\" or \"5m\"")
    }

    fn duration_such_as(&self, examples: &str) -> syn::Result<Duration> {
        duration::parse(&self.string()?.value()).ok_or_else(|| {
            self.wrong(format!(
                "expected a duration such as {examples}, found {}",
                self.tokens()
            ))
        })
    }

    /// A duration that is not zero.
    pub(crate) fn positive(&self) -> syn::Result<Duration> {
        self.not_zero(self.duration()?)
    }

    /// The same, where there is another word for it.
    fn positive_or(&self, word: &str) -> syn::Result<Duration> {
        self.not_zero(self.duration_such_as(&format!("\"30s\", or {word}"))?)
    }

    fn not_zero(&self, duration: Duration) -> syn::Result<Duration> {
        if duration.is_zero() {
            return Err(self.wrong(format!("`{}` must be longer than zero", self.key)));
        }
        Ok(duration)
    }

    fn crate_path(&self) -> syn::Result<CratePath> {
        let relative = "`crate` needs an absolute path; write `::bgtask` or `crate::…`";
        let literal = self.string()?;
        let path = literal
            .parse_with(Path::parse_mod_style)
            .map_err(|_| self.wrong(relative))?;
        if let Some(name) = path.get_ident()
            && name != "crate"
            && name != "bgtask"
        {
            return Err(self.wrong(format!(
                "`crate` needs an absolute path; write `::{name}` if the dependency has that name, or `crate::{name}` if a `use` does"
            )));
        }
        let in_this_crate = path
            .segments
            .first()
            .is_some_and(|segment| segment.ident == "crate");
        if path.leading_colon.is_none() && !in_this_crate {
            return Err(self.wrong(relative));
        }
        Ok(CratePath(Some((path, literal.span()))))
    }
}

/// The name a misspelled one is nearest to, if it is near at all.
fn closest<'n>(written: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    names
        .map(|name| (edit_distance(written, name), name))
        .filter(|(distance, name)| *distance <= (name.len() / 3).max(1))
        .min()
        .map(|(_, name)| name)
}

/// Insertions, deletions, substitutions and swaps of neighbours that lead from one word to the other.
fn edit_distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut rows = vec![(0..=to.len()).collect::<Vec<usize>>()];
    for i in 1..=from.len() {
        let mut row = vec![i];
        for j in 1..=to.len() {
            let differs = usize::from(from[i - 1] != to[j - 1]);
            let mut best = (rows[i - 1][j] + 1)
                .min(row[j - 1] + 1)
                .min(rows[i - 1][j - 1] + differs);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::{closest, edit_distance};

    #[test]
    fn distance_counts_edits() {
        for (from, to, distance) in [
            ("", "", 0),
            ("", "log", 3),
            ("timout", "timeout", 1),
            ("nmae", "name", 1),
            ("onshutdown", "on_shutdown", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(edit_distance(from, to), distance, "{from} → {to}");
            assert_eq!(edit_distance(to, from), distance, "{to} → {from}");
        }
    }

    #[test]
    fn only_near_names_are_suggested() {
        let suggest =
            |written| closest(written, ["name", "log", "on_shutdown", "crate"].into_iter());
        assert_eq!(suggest("nmae"), Some("name"));
        assert_eq!(suggest("logs"), Some("log"));
        assert_eq!(suggest("shutdown"), Some("on_shutdown"));
        assert_eq!(suggest("krate"), Some("crate"));
        assert_eq!(suggest("timeout"), None);
        assert_eq!(suggest("x"), None);
    }
}
