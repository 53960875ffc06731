//! From the plan of a block to the one expression that its call is.
//! Knows the names in `__private` and nothing of what they do.

use super::validate::Plan;
use super::work::{Around, AsyncBlock, Closure, Work};
use crate::expand::{Described, handler_static};
use crate::expand_policies::{fields_of_a_call, policies_static};
use crate::parse::first_span;
use crate::policy_options::PolicyOptions;
use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};

// Input:
//     spawn!("sync", move |token| async move { … })
//
// Output:
//     run_made_with_token(
//         BlockProbe::NEW,
//         move |token: ShutdownToken| async move { … },
//         |probe| probe.classify(),
//         {
//             static __BGTASK_HANDLER: Handler = Handler::new(HandlerSpec { … });
//             inventory::submit! { Registered(&__BGTASK_HANDLER) }
//             &__BGTASK_HANDLER
//         },
//     )
//
// One expression, so that the type that is expected of it reaches the work; the items in a block of their own, so that
// those of another site, within the work or beside it, are not in the way.
//
// Input:
//     spawn!(in &group, "sync", retry(max = 3), async move { … })
//
// Output:
//     run_in(&group, BlockProbe::NEW, (keys, move |_, ()| { … }), |probe, (keys, work)| run_making_again(probe, keys, work, …))
pub(super) fn call(plan: Plan) -> TokenStream {
    let krate = &plan.krate;
    let private = quote!(#krate::__private);
    let parts = Parts::of(&plan, &private);
    let probe = parts.probe;
    let handler = handler(&plan, &private);
    let (function, behind) = (&parts.function, &parts.behind);
    let run = |probe: TokenStream, before: TokenStream| {
        let arguments = arguments(quote!(#probe, #before, #(#behind,)* #handler));
        quote!(#private::#function #arguments)
    };
    let given = quote!(#private::#probe::NEW);
    let call = match &plan.group {
        None => {
            let before = &parts.before;
            run(given, quote!(#(#before),*))
        }
        Some(group) => {
            let (probe, at) = (local("probe", Span::call_site()), plan.work.span());
            let names: Vec<_> = (0..parts.before.len())
                .map(|index| local(&format!("part{index}"), at))
                .collect();
            let called = run(probe.to_token_stream(), quote!(#(#names),*));
            let before = &parts.before;
            let run_in = match plan.work {
                Work::Blocks(_) => quote!(run_blocking_in),
                Work::Future { .. } | Work::Makes(_) => quote!(run_in),
            };
            quote!(#private::#run_in(#group, #given, (#(#before,)*), |#probe, (#(#names,)*)| #called))
        }
    };
    let waits = plan.options.policies.concurrency.as_ref();
    let waits = waits.and_then(|own| own.overflow.as_ref());
    match waits {
        Some(overflow) if overflow.variant == "Wait" => quote!(#private::held(#call)),
        _ => call,
    }
}

/// The arguments of the call but the group and the handler.
struct Parts {
    function: Ident,
    probe: Ident,
    /// Those that hold code of the user's, and come to values before the call begins.
    before: Vec<TokenStream>,
    behind: Vec<TokenStream>,
}

impl Parts {
    fn of(plan: &Plan, private: &TokenStream) -> Self {
        let policies = &plan.options.policies;
        let at = plan.work.span();
        let probe = match plan.work {
            Work::Blocks(_) => "BlockingProbe",
            Work::Future { .. } | Work::Makes(_) => "BlockProbe",
        };
        if !policies.is_any() {
            if let Some(closure) = plan.closure().filter(|closure| takes_state(closure)) {
                let (function, judge) = match plan.work {
                    Work::Blocks(_) => ("run_blocking_in_state", judge_body(closure.body_span())),
                    Work::Future { .. } | Work::Makes(_) => ("run_making_in_state", judge(at)),
                };
                return Self {
                    function: Ident::new(function, at),
                    probe: format_ident!("{probe}"),
                    before: vec![adapted(closure, private, at)],
                    behind: vec![states_of(closure, private), judge],
                };
            }
            let (function, work) = match &plan.work {
                Work::Future { tokens, .. } => ("run_future", tokens.clone()),
                Work::Makes(closure) => (
                    match (closure.makes_at_once(), closure.token()) {
                        (true, None) => "run_made",
                        (true, Some(_)) => "run_made_with_token",
                        (false, None) => "run_making",
                        (false, Some(_)) => "run_making_with_token",
                    },
                    written(closure, private),
                ),
                Work::Blocks(closure) => (
                    if closure.token().is_some() {
                        "run_blocking_with_token"
                    } else {
                        "run_blocking"
                    },
                    written(closure, private),
                ),
            };
            return Self {
                function: Ident::new(function, at),
                probe: format_ident!("{probe}"),
                before: vec![work],
                behind: vec![match &plan.work {
                    Work::Blocks(closure) => judge_body(closure.body_span()),
                    Work::Future { .. } | Work::Makes(_) => judge(at),
                }],
            };
        }
        let again = policies.retry.is_some();
        let (function, work, states) = match &plan.work {
            Work::Future { tokens, .. } if !again => ("run_future_with", tokens.clone(), None),
            // A closure of which each attempt gets a copy.
            Work::Future { tokens, block } => (
                "run_making_again",
                match block {
                    Some(AsyncBlock { around, tokens }) => {
                        Around::wrap(around.as_ref(), made_anew(tokens, at))
                    }
                    None => made_anew(tokens, at),
                },
                Some(states(&[], private)),
            ),
            Work::Makes(closure) => (
                if again {
                    "run_making_again"
                } else {
                    "run_making_with"
                },
                adapted(closure, private, at),
                Some(states_of(closure, private)),
            ),
            Work::Blocks(closure) => (
                if again {
                    "run_blocking_again"
                } else {
                    "run_blocking_with"
                },
                adapted(closure, private, at),
                Some(states_of(closure, private)),
            ),
        };
        Self {
            function: Ident::new(function, at),
            probe: format_ident!("{probe}"),
            before: vec![keys(policies, private), work],
            behind: states
                .into_iter()
                .chain([answers(policies, private, at)])
                .collect(),
        }
    }
}

fn takes_state(closure: &Closure) -> bool {
    closure.parameters.iter().any(|own| own.is_state())
}

/// The closure, with the type of its token.
fn written(closure: &Closure, private: &TokenStream) -> TokenStream {
    closure.to_tokens(&quote!(#private::ShutdownToken))
}

// Output:  { let work = closure; move |token, (state0, state1)| call_3(work, state0, token, state1) }
fn adapted(closure: &Closure, private: &TokenStream, at: Span) -> TokenStream {
    let (work, token) = (local("work", at), local("token", at));
    let written = written(closure, private);
    let (mut arguments, mut states) = (Vec::new(), Vec::new());
    for own in &closure.parameters {
        if own.is_state() {
            let state = local(&format!("state{}", states.len()), at);
            arguments.push(state.clone());
            states.push(state);
        } else {
            arguments.push(token.clone());
        }
    }
    let given = if closure.token().is_some() {
        token.to_token_stream()
    } else {
        quote!(_)
    };
    let call = Ident::new(&format!("call_{}", arguments.len()), Span::call_site());
    quote_spanned!(ours(at)=> {
        let #work = #written;
        move |#given, (#(#states,)*)| #private::#call(#work, #(#arguments),*)
    })
}

// Output:  move |_, ()| { let future = async move { … }; return future; }
fn made_anew(future: &TokenStream, at: Span) -> TokenStream {
    let name = local("future", at);
    // For users who have `clippy::implicit_return` on. What is allowed is not for the user's code.
    quote_spanned!(ours(at)=> move |_, ()| {
        let #name = #future;
        #[allow(clippy::needless_return)]
        return #name;
    })
}

fn states_of(closure: &Closure, private: &TokenStream) -> TokenStream {
    let types = closure.parameters.iter().filter(|own| own.is_state());
    let types: Vec<_> = types.filter_map(|own| own.ty.as_ref()).collect();
    states(&types, private)
}

// Output:  |site| Ok((injected::<State<Pool>, _>(site)?,))
fn states(types: &[&syn::Type], private: &TokenStream) -> TokenStream {
    let site = local("site", Span::call_site());
    if types.is_empty() {
        return quote!(|_| ::core::result::Result::Ok(()));
    }
    let each = types.iter().map(|ty| {
        // What is wrong with a type is said there.
        let injected = Ident::new("injected", first_span(&ty.to_token_stream()));
        quote!(#private::#injected::<#ty, _>(#site)?)
    });
    quote!(|#site| ::core::result::Result::Ok((#(#each,)*)))
}

// Output:  Keys::default().coalesce(key(&(expression))).of_instance(type_name_of_val(&|| {}))
fn keys(policies: &PolicyOptions, private: &TokenStream) -> TokenStream {
    let coalesce = policies.coalesce.as_ref();
    let mut keys = quote!(<#private::Keys as ::core::default::Default>::default());
    let given = [
        ("coalesce", coalesce.and_then(|own| own.key.as_ref())),
        (
            "rate",
            policies.rate.as_ref().and_then(|own| own.key.as_ref()),
        ),
        (
            "concurrency",
            policies
                .concurrency
                .as_ref()
                .and_then(|own| own.key.as_ref()),
        ),
    ];
    for (policy, key) in given {
        if let Some(key) = key {
            let policy = format_ident!("{policy}");
            let at_key = first_span(&key.to_token_stream());
            let key = quote_spanned!(at_key=> #private::key(&(#key)));
            keys = quote!(#keys.#policy(#key));
        }
    }
    // The function around it may be generic, and calls of two instances cannot share an outcome: their types differ.
    if coalesce.is_some() {
        keys = quote!(#keys.of_instance(::core::any::type_name_of_val(&|| {})));
    }
    keys
}

// Output:  |probe| probe.classify()
fn judge(at: Span) -> TokenStream {
    let probe = local("probe", Span::call_site());
    let classify = Ident::new("classify", at);
    quote!(|#probe| #probe.#classify())
}

/// The same for the body of a closure that blocks. The names have the body's span, so that the compiler shows a wrong output there
/// and not at the whole call.
fn judge_body(at: Span) -> TokenStream {
    let (probe, classify) = (Ident::new("__bgtask_probe", at), Ident::new("classify", at));
    quote_spanned!(ours(at)=> |#probe| #probe.#classify())
}

// Output:  |probe| (may_fail(probe.classify()), retry_block_when(probe.output(), predicate), share_of(probe.output()).share())
fn answers(policies: &PolicyOptions, private: &TokenStream, at: Span) -> TokenStream {
    let probe = local("probe", Span::call_site());
    let classify = Ident::new("classify", at);
    let mut judge = quote!(#probe.#classify());
    let mut when = quote!(#private::RetryWhen::ALWAYS);
    if let Some(retry) = &policies.retry {
        if !retry.panics && policies.timeout.is_none() {
            let may_fail = Ident::new("may_fail", at);
            judge = quote!(#private::#may_fail(#judge));
        }
        if let Some(predicate) = &retry.when {
            let at_when = first_span(&predicate.to_token_stream());
            let retry_when = Ident::new("retry_block_when", at_when);
            when = quote!(#private::#retry_when(#probe.output(), #predicate));
        }
    }
    let share = match &policies.coalesce {
        Some(coalesce) if coalesce.shares() => {
            let share = Ident::new("share", at);
            quote!(#private::share_of(#probe.output()).#share())
        }
        _ => quote!(#private::Share::NEVER),
    };
    quote!(|#probe| (#judge, #when, #share))
}

/// The handler's static in a block that comes to a reference to it.
fn handler(plan: &Plan, private: &TokenStream) -> TokenStream {
    // A block with states needs a static of its own, by which the manager tells its refused calls from those of others.
    let is_declared = plan.options.policies.is_any() || plan.closure().is_some_and(takes_state);
    let policies_static = is_declared.then(|| {
        let fields = fields_of_a_call(&plan.options.policies, private);
        policies_static(&fields, private, Span::call_site())
    });
    let policies = if is_declared {
        quote!(::core::option::Option::Some(&__BGTASK_POLICIES))
    } else {
        quote!(::core::option::Option::None)
    };
    let described = Described {
        name: plan.name.clone(),
        path: quote!(#private::no_path),
        kind: match plan.work {
            Work::Blocks(_) => "Blocking",
            Work::Future { .. } | Work::Makes(_) => "Async",
        },
        takes_token: plan
            .closure()
            .is_some_and(|closure| closure.token().is_some()),
        policies,
    };
    let handler_static = handler_static(described, &plan.options, private, Span::call_site());
    quote!({
        #policies_static
        #handler_static
        &__BGTASK_HANDLER
    })
}

/// A name that the user's code cannot meet.
fn local(name: &str, at: Span) -> Ident {
    Ident::new(name, ours(at))
}

/// Tokens of ours that the compiler shows at the user's.
fn ours(at: Span) -> Span {
    Span::mixed_site().located_at(at)
}

/// Arguments in parentheses that stand at the macro's call: this is where a call is made from.
fn arguments(tokens: TokenStream) -> TokenTree {
    TokenTree::Group(Group::new(Delimiter::Parenthesis, tokens))
}
