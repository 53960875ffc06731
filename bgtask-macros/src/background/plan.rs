//! The plan of a background function that has passed validation.
//! Knows nothing of the code that is generated.

use crate::function::attrs::Routed;
use crate::function::types::has_generic;
use crate::function::{Declaration, Function, Parameter};
use crate::options::task::TaskOptions;
use crate::policies::state::takes_state;
use proc_macro2::{Group, Ident};
use syn::{Receiver, Signature, Visibility};

pub(super) struct Plan {
    pub(super) attributes: Routed,
    pub(super) visibility: Visibility,
    pub(super) signature: Signature,
    pub(super) body: Group,
    pub(super) receiver: Option<Receiver>,
    pub(super) parameters: Vec<Parameter>,
    pub(super) options: TaskOptions,
    pub(super) form: Form,
    /// Whether the body may contain items.
    pub(super) has_items: bool,
}

impl Plan {
    pub(super) fn is_async(&self) -> bool {
        self.signature.asyncness.is_some()
    }

    pub(super) fn takes_token(&self) -> bool {
        self.parameters.iter().any(|parameter| parameter.is_token)
    }

    /// Returns whether the function's calls go through the policies.
    pub(super) fn has_policies(&self) -> bool {
        !self.options.policies.is_empty()
    }

    /// Returns whether the function has a static of policies, which also lists its states and fields.
    pub(super) fn declares_policies(&self) -> bool {
        self.has_policies() || takes_state(&self.parameters) || !self.options.fields.is_empty()
    }
}

/// How the body is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Verbatim, as a function of its own name in a type of ours: the compiler's messages name it.
    Function,
    /// Verbatim, as a hidden method beside the one that is called: for a body with `self` or `Self`, if the user's
    /// attributes need a function to stand on.
    Method,
    /// As a block: for `self` or `Self`, which such a function could not name, and for `#[cfg]` on parameters, which the
    /// arguments of its call cannot have.
    Block,
}

impl Form {
    pub(super) fn for_function(
        function: &Function,
        declaration: &Declaration<'_>,
        attributes: &Routed,
    ) -> Self {
        let has_receiver = declaration.receiver.is_some();
        let mentions_self = declaration.mentions_self;
        let mut parameters = declaration.parameters.iter();
        let has_cfg = parameters.any(|parameter| !parameter.cfgs().is_empty());
        // A `Self` that occurs only in the body may belong to an item inside it.
        let is_method = has_receiver || (mentions_self && !function.body_mentions_items());
        let has_generic_of_impl = || {
            function
                .mentions(&|ident| looks_generic(ident) && !has_generic(&function.signature, ident))
        };
        if is_method && !has_cfg && !attributes.work.is_empty() {
            Self::Method
        } else if has_receiver
            || has_cfg
            || mentions_self
            || (attributes.work.is_empty() && has_generic_of_impl())
        {
            Self::Block
        } else {
            Self::Function
        }
    }
}

/// Returns whether the name is usual for a type parameter. If the function has none of that name, it belongs to the `impl`
/// around the function, which an attribute cannot see. If it is a type after all, only some messages differ.
fn looks_generic(ident: &Ident) -> bool {
    let name = ident.to_string();
    let mut characters = name.chars();
    let first = characters.next();
    first.is_some_and(|first| first.is_ascii_uppercase())
        && characters.all(|rest| rest.is_ascii_digit())
}
