//! The clients that claim jobs: one for the functions whose state is provided, and one more for each that follow.
//! Knows nothing of how a claimed job runs.

use super::Shared;
use super::attempt::Held;
use crate::PAUSE;
use crate::engine::{Claiming, Engine, HandOver, Work};
use crate::lease::Life;
use crate::lock;
use bgtask::durable::Function;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// How long the program may take to provide the state of all durable functions before the others start without the rest.
const STATE_WAIT: Duration = Duration::from_secs(2);

/// Claims jobs in one life, until the shutdown is requested. Never completes by itself.
pub(super) async fn claim(
    shared: &Arc<Shared>,
    life: &Life,
    queues: &BTreeMap<String, usize>,
    clients: &mut Vec<Claiming>,
) {
    *shared.life() = Some(life.id.clone());
    lock(&shared.put_back).clear();
    if shared.functions.is_empty() {
        return std::future::pending().await;
    }
    let mut number = 0;
    let claims = async {
        loop {
            clients.drain(..).for_each(Claiming::give_up);
            claim_until_failed(shared, life, queues, clients, &mut number).await;
            sleep(PAUSE).await;
        }
    };
    tokio::select! {
        () = claims => {}
        () = shared.host.stopping() => {}
        () = shared.host.runtime_ended() => {
            shared.health.is_over("the manager's runtime has ended without a shutdown: no durable jobs are claimed any more");
            tracing::error!(target: "bgtask",
                "the manager's runtime has ended without a shutdown: this process claims no durable jobs any more");
        }
    }
    // Claimed jobs continue in this life until the store is closed.
    clients.iter().for_each(Claiming::stop_claims);
    std::future::pending().await
}

/// Starts a client for the functions whose state is provided, and one more for each that follow. Returns when a client has ended.
async fn claim_until_failed(
    shared: &Arc<Shared>,
    life: &Life,
    queues: &BTreeMap<String, usize>,
    clients: &mut Vec<Claiming>,
    number: &mut u32,
) {
    let mut waiting: Vec<Function> = shared.functions.values().copied().collect();
    waiting.sort_by_key(Function::name);
    waiting.dedup_by_key(|function| function.name());
    let all = async {
        for function in &waiting {
            shared.host.provided(*function).await;
        }
    };
    // Usually there is one client for all functions.
    let is_late = tokio::time::timeout(STATE_WAIT, all).await.is_err();
    if is_late && *number == 0 {
        report_stateless(shared, &waiting).await;
    }
    while !waiting.is_empty() {
        let found = tokio::select! {
            found = ready(shared, &waiting) => found,
            () = one_ended(shared, clients) => return,
        };
        waiting.retain(|function| !found.iter().any(|ready| ready.name() == function.name()));
        *number += 1;
        let id = format!("{}.{number}", life.id);
        match start(shared, id, &life.lost, queues, &found) {
            Ok(client) => clients.push(client),
            Err(message) => {
                tracing::error!(target: "bgtask", error = message, "durable jobs cannot be claimed");
                return;
            }
        }
    }
    one_ended(shared, clients).await;
}

/// Logs the functions whose state is not provided.
async fn report_stateless(shared: &Shared, waiting: &[Function]) {
    let mut names = Vec::new();
    for function in waiting {
        let mut provided = std::pin::pin!(shared.host.provided(*function));
        let is_provided =
            std::future::poll_fn(|cx| Poll::Ready(provided.as_mut().poll(cx).is_ready()));
        if !is_provided.await {
            names.push(function.name());
        }
    }
    if !names.is_empty() {
        tracing::warn!(target: "bgtask", functions = names.join(", "),
            "the jobs of these functions are not claimed yet: call `bgtask::provide` with each value that they take as `State<_>`");
    }
}

/// Waits until the state of some functions is provided, and returns these functions.
async fn ready(shared: &Shared, waiting: &[Function]) -> Vec<Function> {
    let mut provided: Vec<_> = waiting
        .iter()
        .map(|function| (*function, Box::pin(shared.host.provided(*function))))
        .collect();
    std::future::poll_fn(|cx| {
        let found: Vec<_> = provided
            .iter_mut()
            .filter_map(|(function, provided)| {
                provided.as_mut().poll(cx).is_ready().then_some(*function)
            })
            .collect();
        if found.is_empty() {
            Poll::Pending
        } else {
            Poll::Ready(found)
        }
    })
    .await
}

/// Wakes the claims of the clients when the database has changed, until one of them has ended, which it does by itself only if it
/// fails.
async fn one_ended(shared: &Shared, clients: &mut [Claiming]) {
    let engines: Vec<_> = clients.iter().map(|client| client.engine.clone()).collect();
    let wakes = async {
        loop {
            shared.database_changed.notified().await;
            engines.iter().for_each(Engine::wake_claims);
        }
    };
    let mut wakes = std::pin::pin!(wakes);
    let mut ends: Vec<_> = clients
        .iter_mut()
        .map(|client| Box::pin(client.ended()))
        .collect();
    let ended = std::future::poll_fn(|cx| {
        for end in &mut ends {
            if let Poll::Ready(ended) = end.as_mut().poll(cx) {
                return Poll::Ready(ended);
            }
        }
        let Poll::Pending = wakes.as_mut().poll(cx);
        Poll::Pending
    })
    .await;
    if let Err(message) = ended {
        tracing::error!(target: "bgtask", error = message, "the claims of durable jobs failed, and start anew");
    }
}

/// Starts a client that claims the jobs of these functions.
fn start(
    shared: &Arc<Shared>,
    id: String,
    lost: &CancellationToken,
    queues: &BTreeMap<String, usize>,
    functions: &[Function],
) -> Result<Claiming, String> {
    let names: Vec<_> = functions
        .iter()
        .flat_map(|function| [Some(function.name()), function.was()])
        .flatten()
        .collect();
    let (own, lost) = (shared.clone(), lost.clone());
    let hand_over: HandOver = Arc::new(move |claimed| {
        let id = claimed.claim.id;
        let held = Held::new(&own, id);
        // A task of its own: the engine may end, and the attempt goes on.
        let attempt = tokio::spawn(own.clone().take(held, claimed, lost.clone()));
        Box::pin(async move {
            if let Err(error) = attempt.await {
                tracing::error!(target: "bgtask", %error, job = id, "an attempt could not be handed over");
            }
        })
    });
    let engine = Engine::working(
        &shared.database,
        Work {
            id,
            // Once per client, and a process has few. The engine requires a static list.
            functions: names.leak(),
            queues,
            hand_over,
        },
    )?;
    let claiming = engine.start()?;
    if !shared.database.notifies() {
        shared.set_front(engine);
    }
    Ok(claiming)
}
