//! Whether a block can run in the background with its options, and the plan of one that can. Every objection is raised.
//! Knows nothing of the code that is generated.

use super::input::Input;
use super::work::{Closure, Work};
use crate::background::validate;
use crate::errors::Errors;
use crate::function::{first_span, is_token_wrapped, peel};
use crate::options::TaskOptions;
use crate::policies::combine;
use proc_macro2::{Span, TokenStream};
use quote::ToTokens;
use syn::Pat;

/// A call to be.
pub(super) struct Plan {
    pub(super) krate: TokenStream,
    pub(super) group: Option<TokenStream>,
    pub(super) name: TokenStream,
    pub(super) options: TaskOptions,
    pub(super) work: Work,
}

impl Plan {
    /// The same call with no options to be wrong about.
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

/// As many as the expansion can pass on.
const MOST_PARAMETERS: usize = 6;

/// The plan, if there can be a call at all; else the closure that cannot be called, if it is whole by itself.
pub(super) fn block(
    input: Input,
    options: TaskOptions,
    errors: &mut Errors,
) -> Result<Plan, Option<TokenStream>> {
    let Input {
        krate,
        group,
        name,
        work,
        ..
    } = input;
    let work = match Work::read(work) {
        Ok(work) => work,
        Err(error) => {
            errors.push(error);
            return Err(None);
        }
    };
    let blocks = matches!(work, Work::Blocks(_));
    validate::check_options(&options, blocks.then_some("a blocking closure"), errors);
    combine::check_pairs(&options.policies, errors);
    if options.policies.retry.is_some() && matches!(work, Work::Future { block: None, .. }) {
        errors.at(
            work.span(),
            "`retry` needs to make the future anew: write `move || async move { … }`",
        );
    }
    let plan = Plan {
        krate,
        group,
        name,
        options,
        work,
    };
    match plan.closure() {
        Some(closure) if !check_parameters(closure, errors) => {
            let is_whole = closure.parameters.iter().all(|own| own.ty.is_some());
            Err(is_whole.then(|| closure.to_tokens(&TokenStream::new())))
        }
        _ => Ok(plan),
    }
}

/// Checks that each parameter is one that the runtime fills in, and says whether that is so.
fn check_parameters(closure: &Closure, errors: &mut Errors) -> bool {
    let mut all_are_filled_in = true;
    let mut wrong = |errors: &mut Errors, span: Span, message: String| {
        errors.at(span, message);
        all_are_filled_in = false;
    };
    let is_alone = closure.parameters.len() == 1;
    for own in &closure.parameters {
        let shown = match &own.pattern {
            Pat::Ident(ident) => format!("`{}`", ident.ident),
            _ => "this parameter".to_owned(),
        };
        let at_pattern = first_span(&own.pattern.to_token_stream());
        match own.ty.as_ref().map(peel) {
            None if is_alone && matches!(own.pattern, Pat::Ident(_) | Pat::Wild(_)) => {}
            None => wrong(
                errors,
                at_pattern,
                format!("write the type of {shown}: `ShutdownToken` or `State<_>`"),
            ),
            Some(ty) if is_token_wrapped(ty) => wrong(
                errors,
                first_span(&ty.to_token_stream()),
                "every task has a `ShutdownToken` of its own: take it by value".to_owned(),
            ),
            Some(_) if own.is_token() || own.is_state() => {}
            Some(_) => wrong(
                errors,
                at_pattern,
                format!(
                    "the runtime calls this closure, and fills in a `ShutdownToken` and `State<_>` only: have the closure \
                     capture {shown} instead"
                ),
            ),
        }
    }
    if let Some(seventh) = closure.parameters.get(MOST_PARAMETERS) {
        wrong(
            errors,
            first_span(&seventh.pattern.to_token_stream()),
            format!(
                "a closure takes at most {MOST_PARAMETERS} parameters here: put the states into one struct"
            ),
        );
    }
    for second in closure
        .parameters
        .iter()
        .filter(|own| own.is_token())
        .skip(1)
    {
        let Some(ty) = &second.ty else { continue };
        wrong(
            errors,
            first_span(&ty.to_token_stream()),
            "a task receives one `ShutdownToken`; drop this one".to_owned(),
        );
    }
    all_are_filled_in
}
