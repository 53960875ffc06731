//! One setting as the program and the environment name it: its method, its variable, and the values that it takes.
//! Must never know what the setting is for.

use super::environment::Environment;
use super::values::{Origin, Setting};
use crate::OpenError;
use std::fmt;

/// A setting by its names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name {
    /// The method of the builder.
    pub(crate) method: &'static str,
    /// The variable of the environment.
    pub(crate) variable: &'static str,
    /// The values that are allowed, after the word "expected".
    pub(crate) expected: &'static str,
}

impl Name {
    /// Returns the error of a wrong value.
    pub(crate) fn wrong(&self, origin: Origin, value: impl Into<String>) -> OpenError {
        self.refused(origin, value, self.expected)
    }

    /// The same, with what is expected in this case.
    pub(crate) fn refused(
        &self,
        origin: Origin,
        value: impl Into<String>,
        expected: impl Into<String>,
    ) -> OpenError {
        OpenError::Setting {
            name: self.by(origin),
            value: value.into(),
            expected: expected.into(),
        }
    }

    /// Returns the name by which the origin knows the setting.
    pub(crate) fn by(&self, origin: Origin) -> &'static str {
        match origin {
            Origin::Environment => self.variable,
            Origin::Code | Origin::Default => self.method,
        }
    }

    /// Returns the text of the variable, if it is set and not empty.
    pub(super) fn read(&self, environment: &Environment) -> Result<Option<String>, OpenError> {
        environment
            .read(self.variable)
            .map_err(|not_utf8| self.wrong(Origin::Environment, not_utf8))
    }
}

/// A setting of one value.
pub(super) struct Single<T> {
    pub(super) name: Name,
    /// Returns the value of a text; `None` if it is none.
    pub(super) parse: fn(&str) -> Option<T>,
    pub(super) is_allowed: fn(&T) -> bool,
}

impl<T: fmt::Debug> Single<T> {
    /// Returns the value that holds, if one is set: that of the program, or that of the environment.
    pub(super) fn find(
        &self,
        given: Option<T>,
        environment: &Environment,
    ) -> Result<Option<Setting<T>>, OpenError> {
        if let Some(value) = given {
            if !(self.is_allowed)(&value) {
                return Err(self.name.wrong(Origin::Code, format!("{value:?}")));
            }
            let origin = Origin::Code;
            return Ok(Some(Setting { value, origin }));
        }
        let origin = Origin::Environment;
        let Some(text) = self.name.read(environment)? else {
            return Ok(None);
        };
        match (self.parse)(&text) {
            Some(value) if (self.is_allowed)(&value) => Ok(Some(Setting { value, origin })),
            _ => Err(self.name.wrong(origin, text)),
        }
    }

    /// Returns the value that holds.
    pub(super) fn resolve(
        &self,
        given: Option<T>,
        environment: &Environment,
        default: T,
    ) -> Result<Setting<T>, OpenError> {
        let found = self.find(given, environment)?;
        Ok(found.unwrap_or(Setting {
            value: default,
            origin: Origin::Default,
        }))
    }
}
