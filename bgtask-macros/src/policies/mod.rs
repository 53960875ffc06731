//! The policies: one file each, with its options, their value, its rules, and its part of the function's static.
//! Knows nothing of how a call is made.

mod backoff;
pub(crate) mod coalesce;
pub(crate) mod combine;
pub(crate) mod concurrency;
pub(crate) mod durable;
mod essential;
mod rate;
mod restart;
pub(crate) mod retry;
mod schedule;
pub(crate) mod state;
mod timeout;
pub(crate) mod wrap;

use crate::arguments::{self, Arguments, Keyword};
use crate::errors::Errors;
use crate::function::Declaration;
use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use std::time::Duration;
use syn::Expr;

/// The options of a policy, and the rules about them.
struct Spec {
    options: &'static [Keyword<Policies>],
    /// An option that goes inside parentheses, and an example of these.
    inside: &'static [(&'static str, &'static str)],
    /// Two options that exclude each other, and why.
    excludes: &'static [(&'static str, &'static str, &'static str)],
    /// An option, those of which it needs one, and its purpose.
    needs: &'static [(&'static str, &'static [&'static str], &'static str)],
    /// Why `spawn!` refuses an option, and what to write instead. With a row here, it refuses the whole policy.
    refused_by_spawn: &'static [(&'static str, &'static str)],
}

impl Spec {
    const EMPTY: Self = Self {
        options: &[],
        inside: &[],
        excludes: &[],
        needs: &[],
        refused_by_spawn: &[],
    };
}

/// The value of a policy.
trait Policy {
    /// Checks the rules that the tables of the `Spec` cannot express. `declaration` is `None` for a block.
    fn check(&self, _: &Policies, _declaration: Option<&Declaration<'_>>, _: &mut Errors) {}

    /// Returns the expression of the key, if the policy applies per key.
    fn key(&self) -> Option<&Expr> {
        None
    }

    /// Returns the field of the policies' static, as `name: value`. `at` is the span of the function's name.
    fn field(&self, policies: &Policies, private: &TokenStream, at: Span) -> Option<TokenStream>;
}

macro_rules! policies {
    ($($name:ident: $Policy:ident,)*) => {
        /// The policies of one function or block.
        #[derive(Default)]
        pub(crate) struct Policies {
            $(pub(crate) $name: Option<$name::$Policy>,)*
            /// The names of all options that were set, in the order of the attribute.
            pub(crate) keys: Vec<Ident>,
        }

        const SPECS: &[Spec] = &[$($name::SPEC),*];

        impl Policies {
            /// Returns the policies that were set, outermost first.
            fn set(&self) -> Vec<(&'static str, &dyn Policy)> {
                let mut set: Vec<(_, &dyn Policy)> = Vec::new();
                $(if let Some(policy) = &self.$name {
                    set.push((stringify!($name), policy));
                })*
                set
            }
        }
    };
}

// The policies of a call, in the order in which they wrap one another, then those of functions that run without a call, then
// that of calls that are stored.
policies! {
    coalesce: Coalesce,
    rate: Rate,
    concurrency: Concurrency,
    retry: Retry,
    timeout: Timeout,
    wrap: Wrap,
    essential: Essential,
    schedule: Schedule,
    restart: Restart,
    durable: Durable,
}

impl Policies {
    /// Reads every policy's options.
    pub(crate) fn fill(&mut self, arguments: &mut Arguments) {
        for spec in SPECS {
            arguments.fill(spec.options, self);
        }
        arguments.suggest_inside(inside);
    }

    /// Reads the options of the policies that a block can have, and refuses the others.
    pub(crate) fn fill_for_spawn(&mut self, arguments: &mut Arguments) {
        for spec in SPECS {
            if spec.refused_by_spawn.is_empty() {
                arguments.fill(spec.options, self);
            } else {
                arguments.refuse(spec.refused_by_spawn);
            }
        }
        arguments.suggest_inside(inside);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.set().is_empty()
    }

    /// Returns whether the function runs without being called.
    pub(crate) fn is_scheduled(&self) -> bool {
        self.schedule
            .as_ref()
            .is_some_and(|schedule| schedule.has_trigger())
    }

    /// Returns the period of the schedule, if it has one, and the span of its literal.
    fn period(&self) -> Option<(Span, Duration)> {
        self.schedule.as_ref()?.period()
    }

    /// Returns whether the calls of the function are stored.
    pub(crate) fn is_durable(&self) -> bool {
        self.durable.is_some()
    }

    /// Returns whether the attribute has `durable`, which may be in error.
    pub(crate) fn has_durable(&self) -> bool {
        self.is_durable() || self.find("durable").is_some()
    }

    /// Returns the expression of the key that keeps a second call from being stored.
    pub(crate) fn unique_key(&self) -> Option<&Expr> {
        self.durable.as_ref()?.unique_key()
    }

    /// Returns the expression of what follows the end of a stored call.
    pub(crate) fn notify(&self) -> Option<&Expr> {
        self.durable.as_ref()?.notify()
    }

    /// Returns whether one call makes several attempts. Those of a stored call are made one by one.
    pub(crate) fn repeats(&self) -> bool {
        self.retry.is_some() && !self.is_durable()
    }

    /// Returns the name of the option in the attribute, if it was set.
    fn find(&self, name: &str) -> Option<&Ident> {
        self.keys.iter().find(|key| *key == name)
    }

    /// Returns the fields of the policies' static, each as `name: value`.
    pub(crate) fn fields(&self, private: &TokenStream, at: Span) -> Vec<TokenStream> {
        let set = self.set().into_iter();
        set.filter_map(|(_, policy)| policy.field(self, private, at))
            .collect()
    }

    // Output:  Keys::default().coalesce(…).concurrency(…).of_instance(type_name_of_val(&|| {}))
    //
    /// Returns the keys of one call. `key` returns the code of one, and `has_instances` is true if the code around the call
    /// may be generic.
    pub(crate) fn keys(
        &self,
        private: &TokenStream,
        has_instances: bool,
        key: impl Fn(&Expr) -> TokenStream,
    ) -> TokenStream {
        let mut keys = quote!(<#private::Keys as ::core::default::Default>::default());
        for (name, policy) in self.set() {
            if let Some(expression) = policy.key() {
                let (name, key) = (format_ident!("{name}"), key(expression));
                keys = quote!(#keys.#name(#key));
            }
        }
        // Each instance of a generic function is a function of its own, and their calls cannot share an outcome. The types and
        // numbers that distinguish them may have no name here, as those of an `impl`; the type of a closure contains them all.
        if self.coalesce.is_some() && has_instances {
            keys = quote!(#keys.of_instance(::core::any::type_name_of_val(&|| {})));
        }
        keys
    }
}

/// Returns whether an option of a policy has this name.
pub(crate) fn has(name: &str) -> bool {
    SPECS.iter().any(|spec| arguments::has(spec.options, name))
}

/// Returns the policies in whose parentheses an option of this name stands.
fn inside(name: &str) -> Option<String> {
    let all = SPECS.iter().flat_map(|spec| spec.inside);
    let inside: Vec<_> = all
        .filter(|(option, _)| *option == name)
        .map(|(_, policy)| format!("`{policy}`"))
        .collect();
    let (last, others) = inside.split_last()?;
    Some(if others.is_empty() {
        last.clone()
    } else {
        format!("{} or {last}", others.join(", "))
    })
}

/// Returns the static that holds the policies.
pub(crate) fn policies_static(
    fields: &[TokenStream],
    private: &TokenStream,
    at: Span,
) -> TokenStream {
    quote_spanned! {at=>
        static __BGTASK_POLICIES: #private::Policies = #private::Policies {
            #(#fields,)*
            ..#private::Policies::NONE
        };
    }
}
