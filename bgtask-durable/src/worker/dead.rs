//! The program's hook for dead jobs: called for one job after the other, on a thread that may block.
//! Must never know why a job died.

use super::Shared;
use crate::PAUSE;
use bgtask::durable::{JobError, JobId, JobState, JobStatus};
use std::fmt;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// The program's hook for dead jobs.
#[derive(Clone)]
pub(crate) struct OnDead(pub(crate) Arc<dyn Fn(&JobStatus) + Send + Sync>);

impl fmt::Debug for OnDead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnDead").finish_non_exhaustive()
    }
}

/// Calls the hook for each dead job, until `over` fires.
pub(super) async fn tell(
    shared: Arc<Shared>,
    hook: Option<OnDead>,
    mut dead: mpsc::UnboundedReceiver<i64>,
    over: CancellationToken,
) {
    loop {
        let id = tokio::select! {
            // The hook runs for each job received so far before the loop ends.
            biased;
            Some(id) = dead.recv() => id,
            () = over.cancelled() => return,
        };
        let Some(hook) = hook.clone() else {
            continue;
        };
        let job = loop {
            match shared.database.status(JobId::new(id)).await {
                Err(JobError::Store { .. }) if !shared.closing.is_cancelled() => {
                    sleep(PAUSE).await;
                }
                job => break job,
            }
        };
        // It may have been tried again meanwhile, or cancelled as it died.
        if let Ok(job) = job
            && job.state == JobState::Dead
            && tokio::task::spawn_blocking(move || (hook.0)(&job))
                .await
                .is_err()
        {
            tracing::error!(target: "bgtask", job = id, "the hook for dead jobs panicked");
        }
    }
}
