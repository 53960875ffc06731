//! What the sender of a request may do, and the answer of `authorize`.
//! Owns plain data; must never know how a request is checked.

use axum::response::{IntoResponse, Response};
use std::fmt;

/// The longest name of an actor that is kept, in characters.
const NAME: usize = 128;

/// What somebody may do on the dashboard. Each contains those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rights {
    /// Nothing: the request is refused.
    #[default]
    None,
    /// To see every page.
    View,
    /// And to act on what can be undone or repeated: retry, cancel, pause, resume.
    Operate,
    /// And to delete.
    Admin,
}

impl Rights {
    /// Returns the word for the rights.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Rights::None => "none",
            Rights::View => "view",
            Rights::Operate => "operate",
            Rights::Admin => "admin",
        }
    }

    /// Grants the rights to somebody of this name, under which the actions are recorded. Of a longer name, 128 characters are kept.
    ///
    /// # Examples
    /// ```
    /// use bgtask::dashboard::Rights;
    ///
    /// # #[derive(Clone)]
    /// # struct User { name: String, is_on_call: bool }
    /// let dashboard = bgtask::dashboard::builder().authorize(|request| match request.extensions.get::<User>() {
    ///     Some(user) if user.is_on_call => Rights::Operate.of(&user.name),
    ///     Some(user) => Rights::View.of(&user.name),
    ///     None => Rights::None.into(),
    /// });
    /// ```
    pub fn of(self, name: impl AsRef<str>) -> Access {
        Access::granted(self, name.as_ref().chars().take(NAME).collect())
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The rights of the sender of a request that was admitted.
#[derive(Clone, Debug)]
pub(crate) struct Granted {
    pub(crate) rights: Rights,
    pub(crate) actor: String,
}

impl Granted {
    pub(crate) fn new(rights: Rights, actor: String) -> Self {
        Self { rights, actor }
    }
}

/// The answer of [`authorize`](super::Builder::authorize): [`Rights`] with a name or without, a `bool`, of which `true` is
/// [`Rights::View`], or a `Result` whose error is the response.
pub struct Access(Result<Granted, Option<Box<Response>>>);

impl Access {
    fn granted(rights: Rights, actor: String) -> Self {
        Self(match rights {
            Rights::None => Err(None),
            rights => Ok(Granted::new(rights, actor)),
        })
    }

    pub(crate) fn into_result(self) -> Result<Granted, Option<Box<Response>>> {
        self.0
    }
}

impl From<Rights> for Access {
    fn from(rights: Rights) -> Self {
        Self::granted(rights, "unnamed".to_owned())
    }
}

impl From<bool> for Access {
    fn from(may_see: bool) -> Self {
        if may_see {
            Rights::View.into()
        } else {
            Rights::None.into()
        }
    }
}

impl<E: IntoResponse> From<Result<(), E>> for Access {
    fn from(access: Result<(), E>) -> Self {
        access.map(|()| Rights::View).into()
    }
}

impl<E: IntoResponse> From<Result<Rights, E>> for Access {
    fn from(access: Result<Rights, E>) -> Self {
        access.map(Access::from).into()
    }
}

impl<E: IntoResponse> From<Result<Access, E>> for Access {
    fn from(access: Result<Access, E>) -> Self {
        access.unwrap_or_else(|response| Self(Err(Some(Box::new(response.into_response())))))
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Access").field(&self.0.is_ok()).finish()
    }
}
