//! The routes of further pages: each request becomes a visit or an act, and each answer a page in the frame of the dashboard.
//! Owns the check of tokens; must never know what a page is about.

use super::assets;
use super::guard::{Guard, Target};
use super::rights::{Granted, Rights};
use super::sections::{Act, Section, Sections, Shown, Visit};
use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::header::{HeaderName, LOCATION};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Form, Router};
use std::sync::Arc;

/// The headers of a page with forms that differ from those of other responses. Without the referrer's policy, a browser sends
/// `Origin: null` with a form of the page.
pub(super) const HEADERS: [(&str, &str); 2] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
         form-action 'self'; frame-ancestors 'none'",
    ),
    ("referrer-policy", "same-origin"),
];

/// The longest query, and the longest form, in bytes.
const QUERY: usize = 4 * 1024;
const FORM: usize = 64 * 1024;

/// The field of a form with the token.
const TOKEN: &str = "token";

type Pairs = Vec<(String, String)>;

/// The state of the handlers of one router.
#[derive(Clone)]
pub(super) struct Frame {
    sections: Arc<dyn Sections>,
    title: Arc<str>,
    guard: Guard,
}

/// Returns the routes of the pages and actions, each of which `guarded` puts behind the guard.
pub(super) fn router<S: Clone + Send + Sync + 'static>(
    sections: Arc<dyn Sections>,
    title: &str,
    guard: &Guard,
    guarded: impl Fn(Router<Frame>, Target) -> Router<Frame>,
) -> Router<S> {
    let frame = Frame {
        sections: sections.clone(),
        title: title.into(),
        guard: guard.clone(),
    };
    let mut pages = Router::new();
    for Section { path, .. } in sections.pages().iter().copied() {
        let show_all = move |State(frame), granted, query| show(frame, granted, path, None, query);
        let show_one = move |State(frame), granted, Path(item), query| {
            show(frame, granted, path, Some(item), query)
        };
        pages = pages
            .route(&format!("/{path}"), get(show_all))
            .route(&format!("/{path}/{{item}}"), get(show_one));
    }
    let mut all = guarded(pages, Target::Page);
    for action in sections.actions().iter().copied() {
        let act = move |State(frame), granted, form| act(frame, granted, action.name, form);
        let route = Router::new()
            .route(&format!("/do/{}", action.name), post(act))
            .layer(DefaultBodyLimit::max(FORM));
        all = all.merge(guarded(route, Target::Action(action.needs)));
    }
    all.with_state(frame)
}

async fn show(
    frame: Frame,
    Extension(granted): Extension<Granted>,
    section: &'static str,
    item: Option<String>,
    query: Result<Query<Pairs>, QueryRejection>,
) -> Response {
    let root = if item.is_some() { "../" } else { "./" };
    let length = |query: &Pairs| {
        query
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum::<usize>()
    };
    let query = match query {
        Ok(Query(query)) if length(&query) <= QUERY => query,
        _ => {
            return frame.note(
                root,
                section,
                StatusCode::BAD_REQUEST,
                "The query is too long, or is not one.",
            );
        }
    };
    let mut rights = granted.rights;
    let mut who = format!("{} · {rights}", granted.actor);
    let mut token = String::new();
    if rights >= Rights::Operate {
        match frame.sections.token(granted.actor).await {
            Ok(own) => token = own,
            // Such as a database that may only be read: then nobody may act.
            Err(reason) => {
                rights = Rights::View;
                who += &format!(", and view only: {reason}");
            }
        }
    }
    let visit = Visit {
        section,
        item,
        query,
        rights,
        root,
        token,
    };
    match frame.sections.show(visit).await {
        Shown::Page { title, body } => {
            frame.page(root, section, StatusCode::OK, &title, &who, &body)
        }
        Shown::NotFound => frame.note(
            root,
            section,
            StatusCode::NOT_FOUND,
            "There is nothing at this address.",
        ),
        Shown::Wrong(reason) => frame.note(root, section, StatusCode::BAD_REQUEST, &reason),
        Shown::Unavailable(reason) => {
            frame.note(root, section, StatusCode::SERVICE_UNAVAILABLE, &reason)
        }
    }
}

async fn act(
    frame: Frame,
    Extension(granted): Extension<Granted>,
    action: &'static str,
    form: Result<Form<Pairs>, FormRejection>,
) -> Response {
    let form = match form {
        Ok(Form(form)) => form,
        Err(rejection) => return rejection.into_response(),
    };
    let act = Act {
        action,
        actor: granted.actor,
        form,
    };
    let token = act.field(TOKEN).unwrap_or_default().to_owned();
    if token.is_empty() || !frame.sections.is_token(act.actor.clone(), token).await {
        return frame.guard.refuse_token();
    }
    match frame.sections.act(act).await {
        Ok(page) => match HeaderValue::try_from(format!("../{page}")) {
            // A reload shows the result again, and does not act again.
            Ok(page) => (StatusCode::SEE_OTHER, [(LOCATION, page)]).into_response(),
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        },
        Err(reason) => frame.note("../", "", StatusCode::CONFLICT, &reason),
    }
}

impl Frame {
    /// Returns a page with one text.
    fn note(&self, root: &str, section: &str, status: StatusCode, text: &str) -> Response {
        let body = format!(
            "<p class=\"notice\" role=\"alert\">{}</p>",
            assets::escaped(text)
        );
        self.page(root, section, status, "", "", &body)
    }

    fn page(
        &self,
        root: &str,
        section: &str,
        status: StatusCode,
        title: &str,
        who: &str,
        body: &str,
    ) -> Response {
        let links = self.sections.pages();
        let html = assets::section(&self.title, root, links, section, title, who, body);
        let mut response = assets::response("text/html; charset=utf-8", html);
        *response.status_mut() = status;
        for (name, value) in HEADERS {
            let value = HeaderValue::from_static(value);
            response
                .headers_mut()
                .insert(HeaderName::from_static(name), value);
        }
        response
    }
}
