//! The variables of the environment: their texts, and those that are close to the name of one.
//! Must never know what a variable means.

use std::env;
use std::ffi::OsString;

/// The prefix of all variables.
const PREFIX: &str = "BGTASK_";

/// In how many letters a name may differ from that of a variable to be taken for a mistake.
const CLOSE: usize = 2;

/// The variables of the process with the prefix, read once.
pub(crate) struct Environment(Vec<(String, OsString)>);

impl Environment {
    pub(crate) fn of_process() -> Self {
        let ours = |(name, value): (OsString, OsString)| {
            let name = name.into_string().ok()?;
            name.starts_with(PREFIX).then_some((name, value))
        };
        Self(env::vars_os().filter_map(ours).collect())
    }

    /// Returns the text of a variable without the white space around it, if it is set and not empty. One that is not UTF-8 is an
    /// error with what of it can be shown.
    pub(super) fn read(&self, variable: &str) -> Result<Option<String>, String> {
        let Some((_, value)) = self.0.iter().find(|(name, _)| name == variable) else {
            return Ok(None);
        };
        let text = value
            .to_str()
            .ok_or_else(|| value.to_string_lossy().into_owned())?
            .trim();
        Ok((!text.is_empty()).then(|| text.to_owned()))
    }

    /// Whether a variable is set, whatever to.
    pub(super) fn is_set(&self, variable: &str) -> bool {
        self.0.iter().any(|(name, _)| name == variable)
    }

    /// Returns the variables whose names begin with a prefix, each after what follows that.
    #[cfg(feature = "webhook")]
    pub(super) fn names_after(&self, prefix: &str) -> Vec<(String, String)> {
        let after = |(name, _): &(String, OsString)| {
            let rest = name.strip_prefix(prefix).filter(|rest| !rest.is_empty())?;
            Some((rest.to_owned(), name.clone()))
        };
        self.0.iter().filter_map(after).collect()
    }

    /// Returns the variables that are set and no setting, each with the setting that it is close to.
    pub(super) fn mistaken<'a>(
        &'a self,
        known: &'a [&'static str],
    ) -> impl Iterator<Item = (&'a str, &'static str)> {
        self.0.iter().filter_map(|(name, _)| {
            if known.contains(&&**name) {
                return None;
            }
            let distance = |other: &&str| strsim::levenshtein(name, other);
            let closest = known.iter().copied().min_by_key(distance)?;
            (distance(&closest) <= CLOSE).then_some((&**name, closest))
        })
    }
}
