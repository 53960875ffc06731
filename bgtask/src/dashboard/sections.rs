//! Further pages of the dashboard, which another crate brings: what they show, and how they act.
//! Owns the one trait between them; must never know a database.

use super::rights::Rights;
use std::fmt;
use std::future::Future;
use std::pin::Pin;

/// A boxed future, so that [`Sections`] can be a trait object.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Further pages of a dashboard. The dashboard checks each request before it calls one of these, so an implementation decides only
/// what a page shows and what an action does.
pub trait Sections: fmt::Debug + Send + Sync + 'static {
    /// Returns the pages, in the order of the navigation. Each is at its path, and the pages of its items below it.
    fn pages(&self) -> &[Section];

    /// Returns the actions, each with the rights that it needs: at least [`Rights::Operate`].
    fn actions(&self) -> &[Action];

    /// Returns a page. It is called for GET and HEAD, and must not change anything.
    fn show(&self, visit: Visit) -> Answer<'_, Shown>;

    /// Acts, and returns the page that shows the result, relative to the first page of the dashboard, as `jobs/7`.
    fn act(&self, act: Act) -> Answer<'_, Result<String, String>>;

    /// Returns a token with which this actor may act, or why there is none. No other site can read it.
    fn token(&self, actor: String) -> Answer<'_, Result<String, String>>;

    /// Returns whether a token was made for this actor, and not too long ago.
    fn is_token(&self, actor: String, token: String) -> Answer<'_, bool>;
}

/// A page, or the pages of many items.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// Its path, such as `"jobs"`: one segment.
    pub path: &'static str,
    /// Its name in the navigation.
    pub title: &'static str,
}

/// An action.
#[derive(Clone, Copy, Debug)]
pub struct Action {
    /// Its name in the path, such as `"retry"`.
    pub name: &'static str,
    /// The rights that it needs.
    pub needs: Rights,
}

/// A request for a page, from somebody who may see it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Visit {
    /// The path of the page.
    pub section: &'static str,
    /// The item below it.
    pub item: Option<String>,
    /// The names and values after `?`, decoded.
    pub query: Vec<(String, String)>,
    /// The rights of the sender. The page offers no action beyond them.
    pub rights: Rights,
    /// The relative path to the first page: `"./"` or `"../"`.
    pub root: &'static str,
    /// The token for the forms of the page. Empty for a sender who may only view.
    pub token: String,
}

impl Visit {
    /// Returns the first value of this name.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<&str> {
        first(&self.query, name)
    }
}

/// An action that was requested by somebody who may do it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Act {
    /// The name of the action.
    pub action: &'static str,
    /// Who does it.
    pub actor: String,
    /// The names and values of the form, decoded.
    pub form: Vec<(String, String)>,
}

impl Act {
    /// Returns the first value of this name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        first(&self.form, name)
    }
}

fn first<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = pairs.iter().find(|(other, _)| other == name);
    found.map(|(_, value)| value.as_str())
}

/// The answer to a visit.
#[derive(Clone, Debug)]
pub enum Shown {
    /// A page.
    Page {
        /// Its title, as text.
        title: String,
        /// The HTML of its main part. All data in it is escaped.
        body: String,
    },
    /// There is nothing at this path.
    NotFound,
    /// The query is wrong, with the reason as text.
    Wrong(String),
    /// It cannot be read now, with the reason as text.
    Unavailable(String),
}
