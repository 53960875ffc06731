//! The routes. Knows nothing of the database, or of how a receipt is rendered.

use crate::order::Order;
use crate::page;
use crate::problem::{self, Problem};
use crate::shop::{Shop, Tracked};
use crate::store::Counts;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Path, State};
use axum::http::header;
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bgtask::durable::{EnqueueError, JobState};
use maud::Markup;
use serde::{Deserialize, Serialize};

pub(crate) fn router(shop: Shop) -> Router {
    let file = |kind, text| get(move || async move { ([(header::CONTENT_TYPE, kind)], text) });
    Router::new()
        .route("/", get(home))
        .route("/orders", post(place))
        .route("/orders.json", get(counts))
        .route("/orders/{id}", get(order))
        .route("/kill", post(kill))
        .route(
            "/style.css",
            file("text/css; charset=utf-8", include_str!("style.css")),
        )
        .route(
            "/live.js",
            file("text/javascript; charset=utf-8", include_str!("live.js")),
        )
        .fallback(|| async { Problem::NotFound("There is no such page.") })
        .with_state(shop)
        .layer(from_fn(problem::respond))
        // The states of jobs, for those who have a ticket.
        .merge(bgtask_durable::notify::router())
}

async fn home(State(shop): State<Shop>) -> Result<Markup, Problem> {
    let newest = shop.newest().await?;
    Ok(page::home(&newest, &shop.store.counts().await?))
}

#[derive(Deserialize)]
struct OrderForm {
    item: String,
    quantity: String,
    /// May be left out, or empty.
    #[serde(default)]
    email: String,
}

async fn place(
    State(shop): State<Shop>,
    form: Result<Form<OrderForm>, FormRejection>,
) -> Result<Redirect, Problem> {
    let Ok(Form(form)) = form else {
        let sentence =
            "The order is incomplete: send a form with the fields `item` and `quantity`.";
        return Err(Problem::Input(sentence));
    };
    let order = Order::new(&form.item, &form.quantity).map_err(Problem::Input)?;
    if let Err(error) = shop.place(&order, form.email.trim()).await {
        return Err(match error.downcast_ref() {
            Some(EnqueueError::Notify { .. }) => {
                Problem::Input("The e-mail address is wrong: write one such as ann@example.com.")
            }
            _ => error.into(),
        });
    }
    Ok(Redirect::to(&format!("/orders/{}", order.id)))
}

async fn order(State(shop): State<Shop>, Path(name): Path<String>) -> Result<Response, Problem> {
    let json = name.strip_suffix(".json");
    let Some(order) = shop.find(json.unwrap_or(&name)).await? else {
        return Err(Problem::NotFound("There is no such order."));
    };
    Ok(match json {
        Some(_) => Json(OrderJson::new(&order)).into_response(),
        None => page::order(&order).into_response(),
    })
}

#[derive(Serialize)]
struct OrderJson<'a> {
    id: &'a str,
    state: JobState,
    progress: f64,
    attempts: u32,
    receipt: Option<&'a str>,
    /// The path of the order's event stream.
    events: Option<&'a str>,
}

impl<'a> OrderJson<'a> {
    fn new(order: &'a Tracked) -> Self {
        Self {
            id: &order.order.id,
            state: order.state(),
            progress: order.progress(),
            attempts: order.attempts(),
            receipt: order.receipt.as_ref().map(|receipt| receipt.body.as_str()),
            events: order.events.as_deref(),
        }
    }
}

async fn counts(State(shop): State<Shop>) -> Result<Json<Counts>, Problem> {
    Ok(Json(shop.store.counts().await?))
}

/// Ends the process as `kill -9` does: nothing is flushed, and no destructor runs.
async fn kill() {
    #[cfg(unix)]
    let _ = nix::sys::signal::raise(nix::sys::signal::SIGKILL);
    std::process::abort();
}
