//! The keywords of the policies: one row an option, as in the tables of `options`, and what their values are taken in as.
//! Knows nothing of the function, nor of what is done with the values.

pub(crate) mod combine;

use crate::errors::Errors;
use crate::literal::{cron, rate};
use crate::options::{Choice, Entry, Given, Keyword, TaskOptions, read};
use proc_macro2::{Ident, Span, TokenStream};
use std::time::Duration;
use syn::{Expr, LitStr};

pub(crate) const POLICIES: &[Keyword<TaskOptions>] = &[
    Keyword {
        name: "timeout",
        example: r#"timeout = "30s""#,
        set: |options, entry| {
            options.policies.timeout = Some(entry.positive()?);
            Ok(())
        },
    },
    Keyword {
        name: "retry",
        example: r#"retry(max = 5, backoff = "exponential")"#,
        set: |options, entry| {
            options.policies.retry = Some(Retry::read(entry)?);
            Ok(())
        },
    },
    Keyword {
        name: "concurrency",
        example: "concurrency = 8",
        set: |options, entry| {
            options.policies.concurrency = Some(Concurrency::read(entry)?);
            Ok(())
        },
    },
    Keyword {
        name: "coalesce",
        example: r#"coalesce(key = key, policy = "join")"#,
        set: |options, entry| {
            options.policies.coalesce = Some(Coalesce::read(entry)?);
            Ok(())
        },
    },
    Keyword {
        name: "rate",
        example: r#"rate = "100/s""#,
        set: |options, entry| {
            options.policies.rate = Some(Rate::read(entry)?);
            Ok(())
        },
    },
    Keyword {
        name: "essential",
        example: "essential",
        set: |options, entry| flag(entry, &mut options.policies.essential),
    },
];

/// The options of functions that run without being called.
pub(crate) const SCHEDULES: &[Keyword<TaskOptions>] = &[
    Keyword {
        name: "every",
        example: r#"every = "5m""#,
        set: |options, entry| {
            let period = entry.positive()?;
            options.policies.every = Some((entry.key.clone(), entry.string()?, period));
            Ok(())
        },
    },
    Keyword {
        name: "cron",
        example: r#"cron = "0 3 * * *""#,
        set: |options, entry| {
            let literal = entry.string()?;
            cron::check(&literal.value()).map_err(|what| entry.wrong(what))?;
            needs_feature(entry, "cron", cfg!(feature = "cron"))?;
            options.policies.cron = Some((entry.key.clone(), literal));
            Ok(())
        },
    },
    Keyword {
        name: "timezone",
        example: r#"timezone = "Europe/Berlin""#,
        set: |options, entry| {
            let literal = entry.string()?;
            let path = cron::zone_path(&literal.value()).ok_or_else(|| {
                entry.wrong("expected a time zone of the IANA database such as \"Europe/Berlin\" or \"UTC\"")
            })?;
            options.policies.timezone = Some((literal, path));
            Ok(())
        },
    },
    Keyword {
        name: "overlap",
        example: "overlap",
        set: |options, entry| flag(entry, &mut options.policies.overlap),
    },
    Keyword {
        name: "missed",
        example: r#"missed = "once""#,
        set: |options, entry| {
            options.policies.missed = Some(entry.choice(MISSED)?);
            Ok(())
        },
    },
    Keyword {
        name: "jitter",
        example: r#"jitter = "10s""#,
        set: |options, entry| {
            options.policies.jitter = Some(entry.positive()?);
            Ok(())
        },
    },
    Keyword {
        name: "immediately",
        example: "immediately",
        set: |options, entry| flag(entry, &mut options.policies.immediately),
    },
    Keyword {
        name: "on_start",
        example: "on_start",
        set: |options, entry| flag(entry, &mut options.policies.on_start),
    },
    Keyword {
        name: "restart",
        example: r#"restart(max = 5, window = "1m")"#,
        set: |options, entry| {
            options.policies.restart = Some(Restart::read(entry)?);
            Ok(())
        },
    },
];

const RETRY: &[Keyword<Retry>] = &[
    Keyword {
        name: "max",
        example: "max = 5",
        set: |retry, entry| {
            let max = entry.count()?;
            if max == 1 {
                return Err(entry.wrong("`max` counts all attempts, so 1 never tries again; write at least 2, or drop `retry`"));
            }
            retry.max = small(entry, max)?;
            Ok(())
        },
    },
    Keyword {
        name: "backoff",
        example: r#"backoff = "exponential""#,
        set: |retry, entry| retry.backoff.set_shape(entry),
    },
    Keyword {
        name: "base",
        example: r#"base = "200ms""#,
        set: |retry, entry| retry.backoff.set_base(entry),
    },
    Keyword {
        name: "cap",
        example: r#"cap = "30s""#,
        set: |retry, entry| retry.backoff.set_cap(entry),
    },
    Keyword {
        name: "jitter",
        example: "jitter",
        set: |retry, entry| flag(entry, &mut retry.backoff.jitter),
    },
    Keyword {
        name: "when",
        example: "when = |error| …",
        set: |retry, entry| {
            retry.when = Some(entry.expression()?);
            Ok(())
        },
    },
    Keyword {
        name: "panics",
        example: "panics",
        set: |retry, entry| flag(entry, &mut retry.panics),
    },
    Keyword {
        name: "last_attempt",
        example: "last_attempt = false",
        set: |retry, entry| {
            retry.last_attempt = entry.boolean()?.value;
            Ok(())
        },
    },
];

const CONCURRENCY: &[Keyword<Concurrency>] = &[
    Keyword {
        name: "max",
        example: "max = 8",
        set: |concurrency, entry| {
            concurrency.max = entry.count()?;
            Ok(())
        },
    },
    Keyword {
        name: "queue",
        example: "queue = 100",
        set: |concurrency, entry| {
            concurrency.queue = Some(entry.number()?);
            Ok(())
        },
    },
    Keyword {
        name: "overflow",
        example: r#"overflow = "refuse""#,
        set: |concurrency, entry| {
            concurrency.overflow = Some(entry.choice(OVERFLOW)?);
            Ok(())
        },
    },
    Keyword {
        name: "key",
        example: "key = user",
        set: |concurrency, entry| {
            concurrency.key = Some(entry.expression()?);
            Ok(())
        },
    },
];

const COALESCE: &[Keyword<Coalesce>] = &[
    Keyword {
        name: "key",
        example: "key = key",
        set: |coalesce, entry| {
            coalesce.key = Some(entry.expression()?);
            Ok(())
        },
    },
    Keyword {
        name: "policy",
        example: r#"policy = "join""#,
        set: |coalesce, entry| {
            coalesce.policy = Some(entry.choice(COALESCE_POLICY)?);
            Ok(())
        },
    },
];

const RATE: &[Keyword<Rate>] = &[
    Keyword {
        name: "limit",
        example: r#"limit = "100/s""#,
        set: |rate, entry| rate.set_limit(entry),
    },
    Keyword {
        name: "overflow",
        example: r#"overflow = "refuse""#,
        set: |rate, entry| {
            rate.overflow = Some(entry.choice(RATE_OVERFLOW)?);
            Ok(())
        },
    },
    Keyword {
        name: "key",
        example: "key = user",
        set: |rate, entry| {
            rate.key = Some(entry.expression()?);
            Ok(())
        },
    },
];

const RESTART: &[Keyword<Restart>] = &[
    Keyword {
        name: "max",
        example: "max = 5",
        set: |restart, entry| {
            restart.max = small(entry, entry.count()?)?;
            Ok(())
        },
    },
    Keyword {
        name: "window",
        example: r#"window = "1m""#,
        set: |restart, entry| {
            restart.window = entry.positive()?;
            Ok(())
        },
    },
    Keyword {
        name: "backoff",
        example: r#"backoff = "exponential""#,
        set: |restart, entry| restart.backoff.set_shape(entry),
    },
    Keyword {
        name: "base",
        example: r#"base = "200ms""#,
        set: |restart, entry| restart.backoff.set_base(entry),
    },
    Keyword {
        name: "cap",
        example: r#"cap = "30s""#,
        set: |restart, entry| restart.backoff.set_cap(entry),
    },
    Keyword {
        name: "jitter",
        example: "jitter",
        set: |restart, entry| flag(entry, &mut restart.backoff.jitter),
    },
    Keyword {
        name: "when",
        example: r#"when = "failure""#,
        set: |restart, entry| {
            restart.when = Some(entry.choice(RESTART_WHEN)?);
            Ok(())
        },
    },
];

/// Where an option belongs that stands by itself.
const INSIDE: &[(&str, &str)] = &[
    ("backoff", "retry(…)"),
    ("base", "retry(…)"),
    ("cap", "retry(…)"),
    ("key", "coalesce(…)`, `rate(…)` or `concurrency(…)"),
    ("last_attempt", "retry(…)"),
    ("limit", r#"rate(limit = "100/s", …)"#),
    ("max", "retry(…)`, `restart(…)` or `concurrency(…)"),
    ("overflow", "concurrency(max = 8, queue = 100, …)"),
    ("panics", "retry(…)"),
    ("policy", "coalesce(…)"),
    ("queue", "concurrency(max = 8, …)"),
    ("when", "retry(…)` or `restart(…)"),
    ("window", "restart(…)"),
];

pub(crate) fn inside(key: &str) -> Option<&'static str> {
    let (_, inside) = INSIDE.iter().find(|(name, _)| *name == key)?;
    Some(inside)
}

// What the user writes, and the variant it means.
const SHAPE: &[(&str, &str)] = &[
    ("constant", "Constant"),
    ("linear", "Linear"),
    ("exponential", "Exponential"),
];
const OVERFLOW: &[(&str, &str)] = &[
    ("refuse", "Refuse"),
    ("drop_oldest", "DropOldest"),
    ("wait", "Wait"),
];
const RATE_OVERFLOW: &[(&str, &str)] = &[("wait", "Wait"), ("refuse", "Refuse")];
const COALESCE_POLICY: &[(&str, &str)] = &[
    ("join", "Join"),
    ("skip", "Skip"),
    ("replace", "Replace"),
    ("trailing", "Trailing"),
];
const MISSED: &[(&str, &str)] = &[("once", "Once"), ("skip", "Skip"), ("all", "All")];
const RESTART_WHEN: &[(&str, &str)] = &[("failure", "Failure"), ("always", "Always")];

#[derive(Default)]
pub(crate) struct PolicyOptions {
    pub(crate) timeout: Option<Duration>,
    pub(crate) retry: Option<Retry>,
    pub(crate) concurrency: Option<Concurrency>,
    pub(crate) coalesce: Option<Coalesce>,
    pub(crate) rate: Option<Rate>,
    pub(crate) every: Option<(Ident, LitStr, Duration)>,
    pub(crate) cron: Option<(Ident, LitStr)>,
    /// As written, and as a path.
    pub(crate) timezone: Option<(LitStr, Vec<String>)>,
    pub(crate) overlap: bool,
    pub(crate) missed: Option<Choice>,
    pub(crate) jitter: Option<Duration>,
    pub(crate) immediately: bool,
    pub(crate) on_start: bool,
    pub(crate) essential: bool,
    pub(crate) restart: Option<Restart>,
    /// All keys, in the order they stand in.
    pub(crate) keys: Vec<Ident>,
}

impl PolicyOptions {
    /// Whether nobody has to call the function for it to run.
    pub(crate) fn is_scheduled(&self) -> bool {
        self.every.is_some() || self.cron.is_some() || self.on_start
    }

    /// Whether there is any policy at all.
    pub(crate) fn is_any(&self) -> bool {
        let is_policy = |key: &Ident| {
            let mut all = POLICIES.iter().chain(SCHEDULES);
            all.any(|keyword| key == keyword.name)
        };
        self.keys.iter().any(is_policy)
    }
}

pub(crate) struct Backoff {
    pub(crate) shape: &'static str,
    pub(crate) base: Duration,
    pub(crate) cap: Duration,
    pub(crate) jitter: bool,
    base_span: Option<Span>,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            shape: "Exponential",
            base: Duration::from_millis(200),
            cap: Duration::from_secs(30),
            jitter: false,
            base_span: None,
        }
    }
}

impl Backoff {
    fn set_shape(&mut self, entry: &Entry) -> syn::Result<()> {
        self.shape = entry.choice(SHAPE)?.variant;
        Ok(())
    }

    fn set_base(&mut self, entry: &Entry) -> syn::Result<()> {
        self.base = entry.positive()?;
        self.base_span = Some(entry.string()?.span());
        Ok(())
    }

    fn set_cap(&mut self, entry: &Entry) -> syn::Result<()> {
        self.cap = entry.positive()?;
        Ok(())
    }

    fn check(&self) -> syn::Result<()> {
        match self.base_span {
            Some(span) if self.base > self.cap => Err(syn::Error::new(
                span,
                "`base` is longer than `cap`, and no pause is: raise `cap` (\"30s\" if not said) or lower `base`",
            )),
            _ => Ok(()),
        }
    }
}

pub(crate) struct Retry {
    pub(crate) max: u32,
    pub(crate) backoff: Backoff,
    pub(crate) when: Option<Expr>,
    pub(crate) panics: bool,
    pub(crate) last_attempt: bool,
}

impl Retry {
    fn read(entry: &Entry) -> syn::Result<Self> {
        let mut retry = Self {
            max: 3,
            backoff: Backoff::default(),
            when: None,
            panics: false,
            last_attempt: true,
        };
        nested(entry, RETRY, &mut retry)?;
        retry.backoff.check()?;
        Ok(retry)
    }
}

pub(crate) struct Concurrency {
    pub(crate) max: usize,
    pub(crate) queue: Option<usize>,
    pub(crate) overflow: Option<Choice>,
    pub(crate) key: Option<Expr>,
}

impl Concurrency {
    fn read(entry: &Entry) -> syn::Result<Self> {
        let mut concurrency = Self {
            max: 0,
            queue: None,
            overflow: None,
            key: None,
        };
        if !matches!(entry.given, Given::Nested(_)) {
            concurrency.max = entry.count()?;
            return Ok(concurrency);
        }
        nested(entry, CONCURRENCY, &mut concurrency)?;
        if concurrency.max == 0 {
            return Err(entry.missing("max = 8"));
        }
        if let (Some(overflow), None) = (&concurrency.overflow, concurrency.queue) {
            return Err(syn::Error::new(
                overflow.span,
                "`overflow` says what happens when the line is full, and without `queue` it never is: add `queue = 100`",
            ));
        }
        Ok(concurrency)
    }
}

#[derive(Default)]
pub(crate) struct Coalesce {
    pub(crate) key: Option<Expr>,
    pub(crate) policy: Option<Choice>,
}

impl Coalesce {
    fn read(entry: &Entry) -> syn::Result<Self> {
        let mut coalesce = Self::default();
        nested(entry, COALESCE, &mut coalesce)?;
        Ok(coalesce)
    }

    pub(crate) fn variant(&self) -> &'static str {
        self.policy.as_ref().map_or("Join", |policy| policy.variant)
    }

    /// Whether callers share an outcome.
    pub(crate) fn shares(&self) -> bool {
        matches!(self.variant(), "Join" | "Trailing")
    }
}

#[derive(Default)]
pub(crate) struct Rate {
    pub(crate) limit: u32,
    pub(crate) per: Duration,
    pub(crate) overflow: Option<Choice>,
    pub(crate) key: Option<Expr>,
}

impl Rate {
    fn read(entry: &Entry) -> syn::Result<Self> {
        let mut own = Self::default();
        if !matches!(entry.given, Given::Nested(_)) {
            own.set_limit(entry)?;
            return Ok(own);
        }
        nested(entry, RATE, &mut own)?;
        if own.limit == 0 {
            return Err(entry.missing(r#"limit = "100/s""#));
        }
        Ok(own)
    }

    fn set_limit(&mut self, entry: &Entry) -> syn::Result<()> {
        let literal = entry.string()?;
        (self.limit, self.per) = rate::parse(&literal.value()).ok_or_else(|| {
            entry.wrong(format!(
                "expected a rate such as \"100/s\" or \"10/m\", found {}",
                entry.tokens()
            ))
        })?;
        Ok(())
    }
}

pub(crate) struct Restart {
    pub(crate) max: u32,
    pub(crate) window: Duration,
    pub(crate) backoff: Backoff,
    pub(crate) when: Option<Choice>,
}

impl Restart {
    fn read(entry: &Entry) -> syn::Result<Self> {
        let mut restart = Self {
            max: 5,
            window: Duration::from_secs(60),
            backoff: Backoff::default(),
            when: None,
        };
        nested(entry, RESTART, &mut restart)?;
        restart.backoff.check()?;
        Ok(restart)
    }
}

/// Reads `option(…)`; nothing is to be read where there is just `option`.
fn nested<O>(entry: &Entry, table: &[Keyword<O>], options: &mut O) -> syn::Result<()> {
    let arguments = match &entry.given {
        Given::Nothing => TokenStream::new(),
        Given::Nested(arguments) => arguments.clone(),
        Given::Value(_) => {
            return Err(entry.wrong(format!(
                "`{}` takes its options in parentheses: `{}`",
                entry.key, entry.example
            )));
        }
    };
    let mut errors = Errors::default();
    read(&[table], arguments, options, &mut errors);
    errors.into_result()
}

fn flag(entry: &Entry, flag: &mut bool) -> syn::Result<()> {
    entry.alone()?;
    *flag = true;
    Ok(())
}

/// A duration longer than nothing.
fn small(entry: &Entry, count: usize) -> syn::Result<u32> {
    u32::try_from(count).map_err(|_| entry.wrong(format!("`{}` must be less than 2^32", entry.key)))
}

fn needs_feature(entry: &Entry, feature: &str, is_on: bool) -> syn::Result<()> {
    if is_on {
        return Ok(());
    }
    let message = format!(
        "`{}` needs the feature `{feature}` of bgtask: `cargo add bgtask --features {feature}`",
        entry.key
    );
    Err(syn::Error::new(entry.key.span(), message))
}
