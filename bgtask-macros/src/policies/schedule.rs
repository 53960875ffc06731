//! `every`, `cron`, `on_start` and the options that go with them: when a function runs without a call.

use super::{Policies, Policy, Spec};
use crate::arguments::values::{self, Value};
use crate::arguments::{Choice, Entry, Keyword};
use crate::errors::Errors;
use crate::function::{Declaration, display_pattern};
use crate::literal::cron;
use crate::tokens::first_span;
use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use std::time::Duration;
use syn::{Expr, LitStr};

#[derive(Default)]
pub(crate) struct Schedule {
    /// With the tokens of the value.
    every: Option<(Value<Duration>, TokenStream)>,
    /// The expression's literal, or a constant.
    cron: Option<TokenStream>,
    on_start: bool,
    /// The zone of `chrono_tz`.
    timezone: Option<Zone>,
    overlap: bool,
    missed: Option<Choice>,
    jitter: Option<Value<Duration>>,
    immediately: bool,
}

enum Zone {
    /// The literal, and its path in `chrono_tz`.
    Named(LitStr, Vec<String>),
    Constant(Expr),
}

const FIRST_RUN: &str = "drop `on_start`; for a first run at the start write `immediately`";

const BY_THE_CLOCK: &str = "a block runs where it is called, and not by the clock: give the body to a function with `#[background({key} = …)]`";

const OF_A_SCHEDULE: &str =
    "`{key}` is about schedules, and a block runs where it is called: drop it";

pub(super) const SPEC: Spec = Spec {
    options: &[
        Keyword::new("every", r#"every = "5m""#, |policies, entry| {
            schedule(policies).every = Some((entry.positive()?, entry.tokens()));
            Ok(())
        }),
        Keyword::new("cron", r#"cron = "0 3 * * *""#, |policies, entry| {
            // The start of the schedules checks a constant.
            if entry.constant().is_none() {
                let literal = entry.string_or_constant()?;
                cron::check(&literal.value()).map_err(|wrong| entry.wrong(wrong))?;
            }
            needs_feature(entry, "cron", cfg!(feature = "cron"))?;
            schedule(policies).cron = Some(entry.tokens());
            Ok(())
        }),
        Keyword::new(
            "timezone",
            r#"timezone = "Europe/Berlin""#,
            |policies, entry| {
                if let Some(zone) = entry.constant() {
                    schedule(policies).timezone = Some(Zone::Constant(zone));
                    return Ok(());
                }
                let literal = entry.string_or_constant()?;
                let path = cron::zone_path(&literal.value()).ok_or_else(|| {
                    entry.wrong(
                        "expected a time zone of the IANA database such as \"Europe/Berlin\" or \"UTC\"",
                    )
                })?;
                schedule(policies).timezone = Some(Zone::Named(literal, path));
                Ok(())
            },
        ),
        Keyword::new("overlap", "overlap", |policies, entry| {
            entry.flag(&mut schedule(policies).overlap)
        }),
        Keyword::new("missed", r#"missed = "once""#, |policies, entry| {
            schedule(policies).missed = Some(entry.choice(MISSED)?);
            Ok(())
        }),
        Keyword::new("jitter", r#"jitter = "10s""#, |policies, entry| {
            schedule(policies).jitter = Some(entry.positive()?);
            Ok(())
        }),
        Keyword::new("immediately", "immediately", |policies, entry| {
            entry.flag(&mut schedule(policies).immediately)
        }),
        Keyword::new("on_start", "on_start", |policies, entry| {
            entry.flag(&mut schedule(policies).on_start)
        }),
    ],
    excludes: &[
        (
            "every",
            "cron",
            "a function has one schedule; drop one of them",
        ),
        ("every", "on_start", FIRST_RUN),
        ("cron", "on_start", FIRST_RUN),
        (
            "overlap",
            "missed",
            "where runs overlap no tick is missed; drop `missed`",
        ),
    ],
    needs: &[
        (
            "timezone",
            &["cron"],
            "it is the time zone of the expression",
        ),
        (
            "overlap",
            &["every", "cron"],
            "it is about runs of a schedule",
        ),
        (
            "missed",
            &["every", "cron"],
            "it is about ticks of a schedule",
        ),
        (
            "jitter",
            &["every", "cron"],
            "it delays the ticks of a schedule; that of a back-off goes inside `retry(…)`",
        ),
        (
            "immediately",
            &["every", "cron"],
            "it is about the first run of a schedule, and `on_start` implies it",
        ),
    ],
    refused_by_spawn: &[
        ("every", BY_THE_CLOCK),
        ("cron", BY_THE_CLOCK),
        (
            "on_start",
            "a block runs where it is called: give the body to a function with `#[background(on_start)]`, or put this call at \
             the start of `main`",
        ),
        ("timezone", OF_A_SCHEDULE),
        ("overlap", OF_A_SCHEDULE),
        ("missed", OF_A_SCHEDULE),
        ("jitter", OF_A_SCHEDULE),
        ("immediately", OF_A_SCHEDULE),
    ],
    ..Spec::EMPTY
};

const MISSED: &[(&str, &str)] = &[("once", "Once"), ("skip", "Skip"), ("all", "All")];

fn schedule(policies: &mut Policies) -> &mut Schedule {
    policies.schedule.get_or_insert_default()
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

impl Schedule {
    /// Returns whether an option starts runs.
    pub(super) fn has_trigger(&self) -> bool {
        self.every.is_some() || self.cron.is_some() || self.on_start
    }

    /// Returns the period of `every`, and the span of its literal.
    pub(super) fn period(&self) -> Option<(Span, Duration)> {
        let (period, written) = self.every.as_ref()?;
        Some((first_span(written), period.literal()?))
    }

    fn trigger(&self, is_durable: bool, private: &TokenStream) -> TokenStream {
        if let Some((period, _)) = &self.every {
            let period = if is_durable {
                let checked = period
                    .clone()
                    .checked_by("period_of_jobs", super::durable::TOO_OFTEN);
                checked.tokens(private)
            } else {
                period.tokens(private)
            };
            return quote!(#private::Trigger::Every(#period));
        }
        let Some(expression) = &self.cron else {
            return quote!(#private::Trigger::OnStart);
        };
        let timezone = match &self.timezone {
            Some(Zone::Constant(zone)) => zone.to_token_stream(),
            Some(Zone::Named(literal, path)) => {
                // The compiler knows the zones: a wrong one is an error at the literal.
                let path = path.iter().map(|part| Ident::new(part, literal.span()));
                quote_spanned!(literal.span()=> #private::timezones::#(#path)::*)
            }
            None => quote!(#private::timezones::UTC),
        };
        quote!(#private::Trigger::Cron { expression: ::std::borrow::Cow::Borrowed(#expression), timezone: #timezone })
    }
}

impl Policy for Schedule {
    fn check(
        &self,
        policies: &Policies,
        declaration: Option<&Declaration<'_>>,
        errors: &mut Errors,
    ) {
        let runs = if let Some((_, written)) = &self.every {
            format!("a task that runs `every` {written}")
        } else if self.cron.is_some() {
            "a task that runs by `cron`".to_owned()
        } else if self.on_start {
            "a task that runs `on_start`".to_owned()
        } else {
            return;
        };
        let Some(declaration) = declaration else {
            return;
        };
        let takes = if policies.is_durable() {
            "it may take a `ShutdownToken`, a `bgtask::Job` and `State<_>` only"
        } else {
            "it may take a `ShutdownToken` and `State<_>` only"
        };
        if let Some(receiver) = declaration.receiver {
            errors.over(
                receiver,
                format!("{runs} has no caller to give it `self`: {takes}"),
            );
        }
        for parameter in declaration.parameters {
            if !parameter.is_injected() {
                let shown = display_pattern(&parameter.pattern);
                errors.over(
                    &parameter.pattern,
                    format!("{runs} has no caller to give it {shown}: {takes}"),
                );
            }
        }
        let signature = declaration.signature;
        if !signature.generics.params.is_empty() {
            errors.over(
                &signature.generics.params,
                format!("{runs} has no caller to choose its types: remove the generics"),
            );
        }
        if declaration.mentions_self && declaration.receiver.is_none() {
            errors.over(
                &signature.ident,
                format!("{runs} is started from outside of its `impl`, where there is no `Self`: write the type's name"),
            );
        }
    }

    fn field(&self, policies: &Policies, private: &TokenStream, at: Span) -> Option<TokenStream> {
        let trigger = self.trigger(policies.is_durable(), private);
        let origin = Ident::new("origin", Span::mixed_site());
        let (overlap, immediately) = (self.overlap, self.immediately);
        let missed = values::variant(self.missed.as_ref(), "Once");
        let jitter = self.jitter.clone();
        let jitter = jitter
            .unwrap_or(Value::Literal(Duration::ZERO))
            .tokens(private);
        let restart = policies.restart.as_ref();
        let restart = values::optional(restart.map(|restart| restart.tokens(private)));
        let start = if policies.is_durable() {
            // The store makes a job of each tick.
            quote!(#private::Schedule::STORED)
        } else {
            quote!(|#origin| ::core::mem::drop(__bgtask_start(#origin)))
        };
        let schedule = quote_spanned! {at=>
            #private::Schedule {
                trigger: #trigger,
                overlap: #overlap,
                missed: #private::Missed::#missed,
                jitter: #jitter,
                immediately: #immediately,
                restart: #restart,
                start: #start,
            }
        };
        Some(quote!(schedule: ::core::option::Option::Some(#schedule)))
    }
}
