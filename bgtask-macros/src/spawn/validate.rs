//! The checks of a block and its options, and the plan of one that passes. They report every objection, not just the first.
//! Knows nothing of the code that is generated.

use super::input::Input;
use super::work::{Closure, Work};
use crate::errors::Errors;
use crate::function::display_pattern;
use crate::function::types::{is_token_wrapped, peel};
use crate::options::task::TaskOptions;
use crate::policies::combine;
use crate::tokens::first_span;
use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::Pat;

/// The plan of one call.
pub(super) struct Plan {
    pub(super) krate: TokenStream,
    pub(super) group: Option<TokenStream>,
    pub(super) name: TokenStream,
    pub(super) options: TaskOptions,
    pub(super) work: Work,
}

impl Plan {
    /// Returns the same call without options that may be wrong.
    pub(super) fn without_options(self) -> Self {
        Self {
            options: TaskOptions::default(),
            ..self
        }
    }

    pub(super) fn closure(&self) -> Option<&Closure> {
        match &self.work {
            Work::Future { .. } => None,
            Work::Makes(closure) | Work::Blocks(closure) => Some(closure),
        }
    }
}

/// The number of parameters that the expansion can pass on.
const MOST_PARAMETERS: usize = 6;

/// Returns the plan, if there can be a call at all. Otherwise, returns the closure that cannot be called, if it compiles by
/// itself.
pub(super) fn block(
    input: Input,
    options: TaskOptions,
    errors: &mut Errors,
) -> Result<Plan, Option<TokenStream>> {
    let work = match Work::read(input.work) {
        Ok(work) => work,
        Err(error) => {
            errors.push(error);
            return Err(None);
        }
    };
    let is_blocking = matches!(work, Work::Blocks(_));
    options.check(is_blocking.then_some("a blocking closure"), errors);
    combine::check(&options.policies, None, errors);
    if options.policies.retry.is_some() && matches!(work, Work::Future { block: None, .. }) {
        errors.at(
            work.span(),
            "`retry` needs to make the future anew: write `move || async move { … }`",
        );
    }
    let plan = Plan {
        krate: input.krate,
        group: input.group,
        name: input.name,
        options,
        work,
    };
    match plan.closure() {
        Some(closure) if !check_parameters(closure, errors) => {
            let mut parameters = closure.parameters.iter();
            let is_complete = parameters.all(|parameter| parameter.ty.is_some());
            Err(is_complete.then(|| closure.to_tokens(&TokenStream::new())))
        }
        _ => Ok(plan),
    }
}

/// Checks that the runtime can fill in each parameter, and returns whether it can.
fn check_parameters(closure: &Closure, errors: &mut Errors) -> bool {
    let mut all_can_be_filled_in = true;
    let mut wrong = |tokens: &dyn ToTokens, message: String| {
        errors.at(first_span(&tokens.to_token_stream()), message);
        all_can_be_filled_in = false;
    };
    let is_alone = closure.parameters.len() == 1;
    for parameter in &closure.parameters {
        let pattern = &parameter.pattern;
        let shown = display_pattern(pattern);
        match parameter.ty.as_ref().map(peel) {
            None if is_alone && matches!(pattern, Pat::Ident(_) | Pat::Wild(_)) => {}
            None => wrong(
                pattern,
                format!("write the type of {shown}: `ShutdownToken` or `State<_>`"),
            ),
            Some(ty) if is_token_wrapped(ty) => wrong(
                ty,
                "every task has a `ShutdownToken` of its own: take it by value".to_owned(),
            ),
            Some(_) if parameter.is_token() || parameter.is_state() => {}
            Some(_) => wrong(
                pattern,
                format!(
                    "the runtime calls this closure, and fills in a `ShutdownToken` and `State<_>` only: have the closure \
                     capture {shown} instead"
                ),
            ),
        }
    }
    if let Some(seventh) = closure.parameters.get(MOST_PARAMETERS) {
        wrong(
            &seventh.pattern,
            format!(
                "a closure takes at most {MOST_PARAMETERS} parameters here: put the states into one struct"
            ),
        );
    }
    let parameters = closure.parameters.iter();
    let tokens = parameters.filter(|parameter| parameter.is_token());
    for second in tokens.skip(1) {
        if let Some(ty) = &second.ty {
            wrong(
                ty,
                "a task receives one `ShutdownToken`; drop this one".to_owned(),
            );
        }
    }
    all_can_be_filled_in
}
