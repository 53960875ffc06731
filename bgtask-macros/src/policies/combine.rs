//! The checks of options that stand together. Each objection names the option to drop.
//! Knows no policy by name.

use super::{Policies, SPECS};
use crate::errors::Errors;
use crate::function::Declaration;

/// Checks the policies of a function, or of a block where `declaration` is `None`.
pub(crate) fn check(
    policies: &Policies,
    declaration: Option<&Declaration<'_>>,
    errors: &mut Errors,
) {
    check_pairs(policies, errors);
    for (_, policy) in policies.set() {
        policy.check(policies, declaration, errors);
    }
}

fn check_pairs(policies: &Policies, errors: &mut Errors) {
    for (first, second, why) in SPECS.iter().flat_map(|spec| spec.excludes) {
        let mut keys = policies.keys.iter().rev();
        let later = keys.find(|key| key == first || key == second);
        if let Some(later) = later
            && policies.find(first).is_some()
            && policies.find(second).is_some()
        {
            errors.at(
                later.span(),
                format!("`{first}` and `{second}` exclude each other: {why}"),
            );
        }
    }
    for (option, needed, purpose) in SPECS.iter().flat_map(|spec| spec.needs) {
        if let Some(key) = policies.find(option)
            && !needed.iter().any(|needed| policies.find(needed).is_some())
        {
            let needed: Vec<_> = needed.iter().map(|needed| format!("`{needed}`")).collect();
            let needed = needed.join(" or ");
            errors.at(
                key.span(),
                format!("`{option}` goes with {needed}: {purpose}"),
            );
        }
    }
}
