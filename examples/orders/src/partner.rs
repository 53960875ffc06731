//! A partner of the shop, as another company would run it: it receives the end of each order, and believes nobody else.
//! Knows nothing of the shop but a secret.

use anyhow::Context;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::Value;
use standardwebhooks::Webhook;
use std::collections::HashSet;
use std::env;
use std::sync::{Arc, Mutex, PoisonError};

struct Partner {
    secret: Webhook,
    /// What was received already. A company that has a database keeps the ids there, in the transaction of what it does about them.
    seen: Mutex<HashSet<String>>,
}

pub(crate) fn router() -> anyhow::Result<Router> {
    let secret = env::var("BGTASK_WEBHOOK_SECRET");
    let secret = secret.context("set `BGTASK_WEBHOOK_SECRET` to the secret of the shop")?;
    let secret = Webhook::new(&secret).context("`BGTASK_WEBHOOK_SECRET` is wrong")?;
    let seen = Mutex::default();
    let partner = Arc::new(Partner { secret, seen });
    Ok(Router::new()
        .route("/orders/{order}", post(receive))
        .with_state(partner))
}

async fn receive(
    State(partner): State<Arc<Partner>>,
    Path(order): Path<String>,
    headers: HeaderMap,
    body: String,
) -> StatusCode {
    // Before anything else is done with it.
    if partner.secret.verify(body.as_bytes(), &headers).is_err() {
        return StatusCode::UNAUTHORIZED;
    }
    let Ok(event) = serde_json::from_str::<Value>(&body) else {
        return StatusCode::BAD_REQUEST;
    };
    let id = headers["webhook-id"].to_str().unwrap_or_default();
    let mut seen = partner.seen.lock().unwrap_or_else(PoisonError::into_inner);
    if seen.insert(id.to_owned()) {
        println!("{order}: {}", event["type"].as_str().unwrap_or_default());
    }
    // Also for what was there before: otherwise it comes again.
    StatusCode::NO_CONTENT
}
