//! `durable`: the calls of the function are stored as jobs, and how these are queued, repeated and kept.

use super::{Policies, Policy, Spec};
use crate::arguments::values::{self, Value};
use crate::arguments::{Entry, Keyword};
use crate::errors::Errors;
use crate::function::types::{is_bare_job, is_generic, is_our_job, peel};
use crate::function::{Declaration, display_pattern};
use crate::tokens::first_span;
use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use std::time::Duration;
use syn::{Expr, LitStr, Type};

#[derive(Default)]
pub(crate) struct Durable {
    queue: Option<Value<LitStr>>,
    priority: Option<Value<u8>>,
    keep: Option<Value<Duration>>,
    was: Option<Value<LitStr>>,
    /// The targets that the end of a job is delivered to, and the option's name.
    notify: Option<(Expr, Span)>,
    unique: Option<Unique>,
}

/// `unique(…)`.
#[derive(Default)]
struct Unique {
    /// Of the option's name.
    span: Option<Span>,
    key: Option<Expr>,
    within: Option<(Value<Duration>, Span)>,
}

pub(crate) const WITHOUT_A_STORE: &str =
    "`durable` needs a store for the calls: `cargo add bgtask-durable`";

pub(super) const TOO_OFTEN: &str =
    "each tick of a `durable` function is a transaction: write at least \"100ms\"";

const WRONG_PRIORITY: &str = "`priority` is 1, which runs first, to 4, which runs last";

const WRONG_QUEUE: &str = "the name of a queue has 1 to 64 lowercase letters, digits, `-` and `_`: a letter first, and each `-` or `_` between two others";

const WRONG_NAME: &str =
    "`was` is the former name of the function, which has 2 to 127 bytes of ASCII";

const KEPT_TOO_LONG: &str = "`keep` is longer than 100 years: write at most \"36500d\"";

/// Each tick is a transaction, which a disk makes a few hundred of per second.
const SHORTEST_PERIOD: Duration = Duration::from_millis(100);

const WAITS_IN_ITS_QUEUE: &str =
    "a stored call without a permit goes back to the queue of its jobs, and is not refused: drop";

/// How long a job stays that is done, unless `keep` says otherwise.
const KEEP: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest `keep`. Beyond a few thousand years, databases fail to subtract it from a time, and then delete no jobs at all.
const LONGEST_KEEP: Duration = Duration::from_secs(36_500 * 24 * 60 * 60);

/// How long a dead job stays.
const KEEP_DEAD: Duration = Duration::from_secs(30 * 24 * 60 * 60);

pub(super) const SPEC: Spec = Spec {
    options: &[Keyword::new(
        "durable",
        r#"durable(queue = "mail")"#,
        |policies, entry| {
            policies.durable = Some(Durable::read(entry)?);
            Ok(())
        },
    )],
    inside: &[
        ("keep", "durable(…)"),
        ("notify", "durable(…)"),
        ("priority", "durable(…)"),
        ("queue", "durable(…)"),
        ("unique", "durable(…)"),
        ("was", "durable(…)"),
        ("within", "durable(unique(…))"),
    ],
    excludes: &[
        (
            "durable",
            "coalesce",
            "a stored call has no call in flight to join: drop `coalesce`",
        ),
        (
            "durable",
            "essential",
            "a job that ends is kept with its errors and ends no program: drop `essential`",
        ),
        (
            "durable",
            "on_start",
            "a start is one of this process, and no job of all of them: store a call in `main`, or for a first run of a schedule write \
             `immediately`",
        ),
        (
            "durable",
            "restart",
            "a job is repeated by `retry`: drop `restart`",
        ),
    ],
    refused_by_spawn: &[(
        "durable",
        "a block captures values that cannot be stored: give the body to a function with `#[background(durable)]`, and call that",
    )],
    ..Spec::EMPTY
};

const OPTIONS: &[Keyword<Durable>] = &[
    Keyword::new("queue", r#"queue = "mail""#, |durable, entry| {
        let queue = entry.value("queue", "", || entry.string_or_constant())?;
        if queue
            .literal()
            .is_some_and(|queue| !is_queue_name(&queue.value()))
        {
            return Err(entry.wrong(WRONG_QUEUE));
        }
        durable.queue = Some(queue.checked_by("queue", WRONG_QUEUE));
        Ok(())
    }),
    Keyword::new("priority", "priority = 2", |durable, entry| {
        if entry.constant().is_some() {
            let priority = entry.value("priority", "", || unreachable!("it is a constant"))?;
            durable.priority = Some(priority.checked_by("priority", WRONG_PRIORITY));
            return Ok(());
        }
        let priority = entry.count()?.literal();
        durable.priority = match priority.and_then(|priority| u8::try_from(priority).ok()) {
            Some(priority @ 1..=4) => Some(Value::Literal(priority)),
            _ => return Err(entry.wrong(WRONG_PRIORITY)),
        };
        Ok(())
    }),
    Keyword::new("keep", r#"keep = "7d""#, |durable, entry| {
        let keep = entry.positive()?;
        if keep.literal().is_some_and(|keep| keep > LONGEST_KEEP) {
            return Err(entry.wrong(KEPT_TOO_LONG));
        }
        durable.keep = Some(keep);
        Ok(())
    }),
    Keyword::new("was", r#"was = "app::old_name""#, |durable, entry| {
        let was = entry.value("was", "", || entry.string_or_constant())?;
        let is_wrong = |was: LitStr| {
            let name = was.value();
            !name.is_ascii() || !(2..128).contains(&name.len())
        };
        if was.literal().is_some_and(is_wrong) {
            return Err(entry.wrong(WRONG_NAME));
        }
        durable.was = Some(was.checked_by("was", WRONG_NAME));
        Ok(())
    }),
    Keyword::new("notify", "notify = webhook(url)", |durable, entry| {
        durable.notify = Some((entry.expression()?, entry.key.span()));
        Ok(())
    }),
    Keyword::new("unique", "unique(key = order)", |durable, entry| {
        let mut unique = Unique {
            span: Some(entry.key.span()),
            ..Unique::default()
        };
        entry.nested(|arguments| arguments.fill(UNIQUE, &mut unique))?;
        durable.unique = Some(unique);
        Ok(())
    }),
    Keyword::new("key", "key = order", |_, entry| {
        Err(misplaced(entry, "unique(key = …)"))
    }),
    Keyword::new("within", r#"within = "1d""#, |_, entry| {
        Err(misplaced(entry, "unique(within = \"…\")"))
    }),
];

const UNIQUE: &[Keyword<Unique>] = &[
    Keyword::new("key", "key = order", |unique, entry| {
        unique.key = Some(entry.expression()?);
        Ok(())
    }),
    Keyword::new("within", r#"within = "1d""#, |unique, entry| {
        let within = entry.positive()?;
        unique.within = Some((within, first_span(&entry.tokens())));
        Ok(())
    }),
];

fn misplaced(entry: &Entry, instead: &str) -> syn::Error {
    let message = format!("`{}` belongs to `unique`: `{instead}`", entry.key);
    syn::Error::new(entry.key.span(), message)
}

/// As `bgtask::durable::is_queue_name`.
fn is_queue_name(name: &str) -> bool {
    let is_word = |word: &str| {
        let mut characters = word.bytes();
        !word.is_empty()
            && characters.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.len() <= 64
        && name.split(['-', '_']).all(is_word)
}

impl Durable {
    fn read(entry: &Entry) -> syn::Result<Self> {
        if cfg!(not(feature = "durable")) {
            return Err(syn::Error::new(entry.key.span(), WITHOUT_A_STORE));
        }
        let mut durable = Self::default();
        entry.nested(|arguments| arguments.fill(OPTIONS, &mut durable))?;
        durable.check_window()?;
        Ok(durable)
    }

    /// A job keeps others from being stored as long as it is in the database, so it has to stay for the whole window.
    fn check_window(&self) -> syn::Result<()> {
        let unique = self.unique.as_ref();
        let Some((within, span)) = unique.and_then(|unique| unique.within.as_ref()) else {
            return Ok(());
        };
        let keep = self.keep.clone().unwrap_or(Value::Literal(KEEP));
        // The constant `checked` of the runtime's `Durable` compares the others.
        let (Some(within), Some(keep)) = (within.literal(), keep.literal()) else {
            return Ok(());
        };
        let message = if within > keep {
            "`within` is longer than the job stays in the database, which is a day unless `keep` says otherwise: add a `keep` of this \
             length"
        } else if within > KEEP_DEAD {
            "`within` is longer than 30 days, and a dead job stays no longer: shorten it"
        } else {
            return Ok(());
        };
        Err(syn::Error::new(*span, message))
    }

    fn check_schedule(&self, policies: &Policies, errors: &mut Errors) {
        if let Some(span) = self.unique.as_ref().and_then(|unique| unique.span) {
            errors.at(
                span,
                "a tick is stored once whatever happens, and waits for the run before it: drop `unique`, and give calls beside the \
                 ticks a key with `.key(…)`",
            );
        }
        if let Some((_, span)) = &self.notify {
            errors.at(
                *span,
                "a tick has no arguments, and stores what it always stores: drop `notify`, and let the body store a call that has one",
            );
        }
        if let Some((span, period)) = policies.period()
            && period < SHORTEST_PERIOD
        {
            errors.at(span, TOO_OFTEN);
        }
    }

    pub(crate) fn notify(&self) -> Option<&Expr> {
        self.notify.as_ref().map(|(notify, _)| notify)
    }

    pub(crate) fn unique_key(&self) -> Option<&Expr> {
        self.unique.as_ref()?.key.as_ref()
    }
}

impl Policy for Durable {
    fn check(
        &self,
        policies: &Policies,
        declaration: Option<&Declaration<'_>>,
        errors: &mut Errors,
    ) {
        let (has_queue, overflow) = super::concurrency::queue_of(policies);
        if let Some(key) = policies.find("concurrency").filter(|_| has_queue) {
            errors.at(key.span(), format!("{WAITS_IN_ITS_QUEUE} `queue`"));
        }
        for span in [overflow, super::rate::overflow_of(policies)]
            .into_iter()
            .flatten()
        {
            errors.at(span, format!("{WAITS_IN_ITS_QUEUE} `overflow`"));
        }
        if policies.is_scheduled() {
            self.check_schedule(policies, errors);
            // The schedule has stricter rules for the declaration.
            return;
        }
        let Some(declaration) = declaration else {
            return;
        };
        if let Some(receiver) = declaration.receiver {
            errors.over(
                receiver,
                "a worker runs a stored call, and has no `self` to give it: take a `State<_>`, or pass a key and load the value",
            );
        }
        for parameter in declaration.parameters {
            if let Type::Reference(reference) = peel(&parameter.ty)
                && !is_our_job(&reference.elem)
                && !is_bare_job(&reference.elem)
            {
                let shown = display_pattern(&parameter.pattern);
                errors.over(
                    reference,
                    format!("a worker loads {shown} from the store, so it must own its data: use `String` or `Vec<_>`"),
                );
            }
        }
        let signature = declaration.signature;
        let names_a_type = "a stored call names its function and no types";
        if !signature.generics.params.is_empty() {
            errors.over(
                &signature.generics.params,
                format!("{names_a_type}: remove the generics"),
            );
        } else if is_generic(signature) {
            errors.over(
                &signature.inputs,
                format!("{names_a_type}: write a type in place of `impl`"),
            );
        }
        if declaration.mentions_self && declaration.receiver.is_none() {
            errors.over(
                &signature.ident,
                "a worker runs a stored call from outside of its `impl`, where there is no `Self`: write the type's name",
            );
        }
    }

    fn field(&self, policies: &Policies, private: &TokenStream, at: Span) -> Option<TokenStream> {
        let queue = match &self.queue {
            Some(queue) => queue.tokens(private),
            None => quote!("default"),
        };
        let priority = self.priority.clone().unwrap_or(Value::Literal(1));
        let keep = self.keep.as_ref();
        let within = self
            .unique
            .as_ref()
            .and_then(|unique| unique.within.as_ref());
        let are_constants = priority.is_constant()
            || keep.is_some_and(Value::is_constant)
            || within.is_some_and(|(within, _)| within.is_constant());
        let checked = are_constants.then(|| quote!(.checked()));
        let priority = priority.tokens(private);
        let keep = values::optional(keep.map(|keep| keep.tokens(private)));
        let was = values::optional(self.was.as_ref().map(|was| was.tokens(private)));
        let unique = values::optional(self.unique.as_ref().map(|unique| {
            let has_key = unique.key.is_some();
            let within = values::optional(within.map(|(within, _)| within.tokens(private)));
            quote!(#private::Uniqueness { has_key: #has_key, within: #within })
        }));
        let attempts = super::retry::of_jobs(policies, private);
        Some(quote_spanned! {at=>
            durable: ::core::option::Option::Some(#private::Durable {
                queue: #queue,
                priority: #priority,
                keep: #keep,
                was: #was,
                unique: #unique,
                #attempts
                run: __bgtask_run,
            }#checked)
        })
    }
}
