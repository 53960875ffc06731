//! From the plan of a block to one expression.
//! Knows the names in `__private` and nothing of their behaviour.

use super::validate::Plan;
use super::work::{Around, AsyncBlock, Closure, Work};
use crate::arguments::values::optional;
use crate::options::handler::{Described, handler_static};
use crate::policies::{Policies, coalesce, concurrency, policies_static, retry};
use crate::tokens::first_span;
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
// It is one expression, so that the expected type reaches the work. The items are in a separate block, so that they do not
// collide with those of another call, within the work or beside it.
//
// Input:
//     spawn!(in &group, "sync", retry(max = 3), async move { … })
//
// Output:
//     run_in(&group, BlockProbe::NEW, (keys, move |_, ()| { … }), |probe, (keys, work)| run_making_again(probe, keys, work, …))
pub(super) fn call(plan: &Plan) -> TokenStream {
    let krate = &plan.krate;
    let private = quote!(#krate::__private);
    let parts = Parts::new(plan, &private);
    let handler = handler(plan, &private);
    let Parts {
        function,
        probe,
        before,
        behind,
    } = &parts;
    let run = |probe: TokenStream, before: TokenStream| {
        let arguments = arguments(quote!(#probe, #before, #(#behind,)* #handler));
        quote!(#private::#function #arguments)
    };
    let new_probe = quote!(#private::#probe::NEW);
    let call = match &plan.group {
        None => run(new_probe, quote!(#(#before),*)),
        Some(group) => {
            let (probe, at) = (local("probe", Span::call_site()), plan.work.span());
            let names: Vec<_> = (0..before.len())
                .map(|index| local(&format!("part{index}"), at))
                .collect();
            let call = run(probe.to_token_stream(), quote!(#(#names),*));
            let run_in = match plan.work {
                Work::Blocks(_) => quote!(run_blocking_in),
                Work::Future { .. } | Work::Makes(_) => quote!(run_in),
            };
            quote!(#private::#run_in(#group, #new_probe, (#(#before,)*), |#probe, (#(#names,)*)| #call))
        }
    };
    if concurrency::waits_for_room(&plan.options.policies) {
        quote!(#private::held(#call))
    } else {
        call
    }
}

/// The call, except for the group and the handler.
struct Parts {
    function: Ident,
    probe: Ident,
    /// The arguments with the user's code, which are evaluated before the call begins.
    before: Vec<TokenStream>,
    behind: Vec<TokenStream>,
}

impl Parts {
    fn new(plan: &Plan, private: &TokenStream) -> Self {
        let (function, before, behind) = if has_policies(plan) {
            with_policies(plan, private)
        } else {
            without_policies(plan, private)
        };
        let probe = match plan.work {
            Work::Blocks(_) => "BlockingProbe",
            Work::Future { .. } | Work::Makes(_) => "BlockProbe",
        };
        Self {
            function: Ident::new(function, plan.work.span()),
            probe: format_ident!("{probe}"),
            before,
            behind,
        }
    }
}

/// Returns the function to call, and the arguments before and behind the others.
fn without_policies(
    plan: &Plan,
    private: &TokenStream,
) -> (&'static str, Vec<TokenStream>, Vec<TokenStream>) {
    let at = plan.work.span();
    if let Some(closure) = plan.closure().filter(|closure| takes_state(closure)) {
        let (function, classify) = match plan.work {
            Work::Blocks(_) => ("run_blocking_in_state", classify_body(closure.body_span())),
            Work::Future { .. } | Work::Makes(_) => ("run_making_in_state", classify(at)),
        };
        let behind = vec![states(Some(closure), private), classify];
        return (function, vec![adapted(closure, private, at)], behind);
    }
    let (function, work, classify) = match &plan.work {
        Work::Future { tokens, .. } => ("run_future", tokens.clone(), classify(at)),
        Work::Makes(closure) => (
            match (closure.makes_at_once(), closure.token()) {
                (true, None) => "run_made",
                (true, Some(_)) => "run_made_with_token",
                (false, None) => "run_making",
                (false, Some(_)) => "run_making_with_token",
            },
            typed(closure, private),
            classify(at),
        ),
        Work::Blocks(closure) => (
            if closure.token().is_some() {
                "run_blocking_with_token"
            } else {
                "run_blocking"
            },
            typed(closure, private),
            classify_body(closure.body_span()),
        ),
    };
    (function, vec![work], vec![classify])
}

/// Does the same for a call that goes through the policies.
fn with_policies(
    plan: &Plan,
    private: &TokenStream,
) -> (&'static str, Vec<TokenStream>, Vec<TokenStream>) {
    let policies = &plan.options.policies;
    let at = plan.work.span();
    let again = policies.retry.is_some();
    let (function, work) = match &plan.work {
        Work::Future { tokens, .. } if !again => ("run_future_with", tokens.clone()),
        // A closure, which is copied for each attempt.
        Work::Future { tokens, block } => (
            "run_making_again",
            match block {
                Some(AsyncBlock { around, tokens }) => {
                    Around::wrap(around.as_ref(), made_anew(tokens, at))
                }
                None => made_anew(tokens, at),
            },
        ),
        Work::Makes(closure) => (
            if again {
                "run_making_again"
            } else {
                "run_making_with"
            },
            adapted(closure, private, at),
        ),
        Work::Blocks(closure) => (
            if again {
                "run_blocking_again"
            } else {
                "run_blocking_with"
            },
            adapted(closure, private, at),
        ),
    };
    // A future that is made only once has been made already, without any state.
    let states = (again || plan.closure().is_some()).then(|| states(plan.closure(), private));
    let answers = answers(policies, private, at);
    let key = |key: &syn::Expr| {
        let at_key = first_span(&key.to_token_stream());
        quote_spanned!(at_key=> #private::key(&(#key)))
    };
    // The function around it may be generic.
    let keys = policies.keys(private, true, key);
    let behind = states.into_iter().chain([answers]).collect();
    (function, vec![keys, work], behind)
}

/// Returns whether the call goes through the policies.
fn has_policies(plan: &Plan) -> bool {
    !plan.options.policies.is_empty()
}

fn takes_state(closure: &Closure) -> bool {
    closure.states().next().is_some()
}

/// Returns the closure, with the type of its token.
fn typed(closure: &Closure, private: &TokenStream) -> TokenStream {
    closure.to_tokens(&quote!(#private::ShutdownToken))
}

// Output:  { let work = closure; move |token, (state0, state1)| call_3(work, state0, token, state1) }
fn adapted(closure: &Closure, private: &TokenStream, at: Span) -> TokenStream {
    let (work, token) = (local("work", at), local("token", at));
    let typed = typed(closure, private);
    let (mut arguments, mut states) = (Vec::new(), Vec::new());
    for parameter in &closure.parameters {
        if parameter.is_state() {
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
        let #work = #typed;
        move |#given, (#(#states,)*)| #private::#call(#work, #(#arguments),*)
    })
}

// Output:  move |_, ()| { let future = async move { … }; return future; }
fn made_anew(future: &TokenStream, at: Span) -> TokenStream {
    let name = local("future", at);
    // The `return` is for users who have `clippy::implicit_return` on. Its `allow` does not apply to the user's code.
    quote_spanned!(ours(at)=> move |_, ()| {
        let #name = #future;
        #[allow(clippy::needless_return)]
        return #name;
    })
}

// Output:  |site| Ok((injected::<State<Pool>, _>(site)?,))
fn states(closure: Option<&Closure>, private: &TokenStream) -> TokenStream {
    let types: Vec<_> = closure.into_iter().flat_map(Closure::states).collect();
    if types.is_empty() {
        return quote!(|_| ::core::result::Result::Ok(()));
    }
    let site = local("site", Span::call_site());
    let each = types.iter().map(|ty| {
        // The compiler reports errors about a type there.
        let injected = Ident::new("injected", first_span(&ty.to_token_stream()));
        quote!(#private::#injected::<#ty, _>(#site)?)
    });
    quote!(|#site| ::core::result::Result::Ok((#(#each,)*)))
}

// Output:  |probe| probe.classify()
fn classify(at: Span) -> TokenStream {
    let probe = local("probe", Span::call_site());
    let classify = Ident::new("classify", at);
    quote!(|#probe| #probe.#classify())
}

/// Returns the same for the body of a closure that blocks. The names have the body's span, so that the compiler shows a wrong
/// output there and not at the whole call.
fn classify_body(at: Span) -> TokenStream {
    let (probe, classify) = (Ident::new("__bgtask_probe", at), Ident::new("classify", at));
    quote_spanned!(ours(at)=> |#probe| #probe.#classify())
}

// Output:  |probe| (may_fail(probe.classify()), retry_block_when(probe.output(), predicate), share_of(probe.output()).share())
fn answers(policies: &Policies, private: &TokenStream, at: Span) -> TokenStream {
    let probe = local("probe", Span::call_site());
    let classify = Ident::new("classify", at);
    let mut judge = quote!(#probe.#classify());
    if retry::needs_result(policies) {
        let may_fail = Ident::new("may_fail", at);
        judge = quote!(#private::#may_fail(#judge));
    }
    let retry = policies.retry.as_ref();
    let after = retry.and_then(|retry| retry.after.as_ref());
    let mut when = match retry.and_then(|retry| retry.when.as_ref()) {
        Some(predicate) => {
            let at_when = first_span(&predicate.to_token_stream());
            let retry_when = Ident::new("retry_block_when", at_when);
            quote!(#private::#retry_when(#probe.output(), #predicate))
        }
        // The type of the error, which the closure of `after` may not name.
        None if after.is_some() => quote!(#private::retry_block_always(#probe.output())),
        None => quote!(#private::RetryWhen::ALWAYS),
    };
    if let Some(after) = after {
        let at_after = first_span(&after.to_token_stream());
        let after_method = Ident::new("after", at_after);
        when = quote!(#private::RetryWhen::#after_method(#when, #after));
    }
    let share = if coalesce::shares_outcome(policies) {
        let share = Ident::new("share", at);
        quote!(#private::share_of(#probe.output()).#share())
    } else {
        quote!(#private::Share::NEVER)
    };
    quote!(|#probe| (#judge, #when, #share))
}

/// Returns a block with the handler's static that evaluates to a reference to it.
fn handler(plan: &Plan, private: &TokenStream) -> TokenStream {
    let at = Span::call_site();
    // The manager identifies the refused calls of a block with states by the block's static.
    let is_declared = has_policies(plan) || plan.closure().is_some_and(takes_state);
    let policies = is_declared.then(|| {
        let fields = plan.options.policies.fields(private, at);
        policies_static(&fields, private, at)
    });
    let described = Described {
        name: plan.name.clone(),
        path: quote!(#private::no_path),
        is_async: !matches!(plan.work, Work::Blocks(_)),
        takes_token: plan
            .closure()
            .is_some_and(|closure| closure.token().is_some()),
        policies: optional(is_declared.then(|| quote!(&__BGTASK_POLICIES))),
    };
    let handler = handler_static(described, &plan.options, private, at);
    quote!({
        #policies
        #handler
        &__BGTASK_HANDLER
    })
}

/// Returns a name that the user's code cannot mention.
fn local(name: &str, at: Span) -> Ident {
    Ident::new(name, ours(at))
}

/// Returns the macro's hygiene with the location of the user's code, which the compiler shows.
fn ours(at: Span) -> Span {
    Span::mixed_site().located_at(at)
}

/// Returns the arguments in parentheses at the location of the macro's call, which is what a call's location is taken from.
fn arguments(tokens: TokenStream) -> TokenTree {
    TokenTree::Group(Group::new(Delimiter::Parenthesis, tokens))
}
