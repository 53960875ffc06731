//! The shop: places orders, and finds them with what their jobs are doing. Knows nothing of the web.

use crate::followers::followers;
use crate::jobs::send_receipt;
use crate::order::Order;
use crate::store::{Placed, Receipt, Store};
use bgtask::durable::{JobError, JobState, JobStatus};
use bgtask_durable::Jobs;
use std::time::Duration;

#[derive(Clone)]
pub(crate) struct Shop {
    pub(crate) store: Store,
    pub(crate) jobs: Jobs,
}

/// An order with its job and its receipt.
pub(crate) struct Tracked {
    pub(crate) order: Order,
    /// `None` once the job has ended and its time in the database is over.
    pub(crate) job: Option<JobStatus>,
    pub(crate) receipt: Option<Receipt>,
    /// The path at which the customer's page follows the job, for an hour: who has the path sees this job, and nothing else.
    pub(crate) events: Option<String>,
}

impl Shop {
    /// Stores an order and its job in one transaction: both are stored, or neither is. What follows the end of the job goes with it.
    pub(crate) async fn place(&self, order: &Order, customer: &str) -> anyhow::Result<()> {
        let mut transaction = self.store.begin().await?;
        let job = send_receipt(order.id.clone())
            .notify(followers(order, customer))
            .within(&mut transaction)
            .await?;
        transaction.insert_order(order, job.id()).await?;
        transaction.commit().await?;
        Ok(())
    }

    pub(crate) async fn find(&self, id: &str) -> anyhow::Result<Option<Tracked>> {
        // Postgres refuses a NUL, which no id contains.
        if id.contains('\0') {
            return Ok(None);
        }
        match self.store.order(id).await? {
            Some(placed) => Ok(Some(self.track(placed).await?)),
            None => Ok(None),
        }
    }

    pub(crate) async fn newest(&self) -> anyhow::Result<Vec<Tracked>> {
        let mut newest = Vec::new();
        for placed in self.store.newest(5).await? {
            newest.push(self.track(placed).await?);
        }
        Ok(newest)
    }

    async fn track(&self, Placed { order, job }: Placed) -> anyhow::Result<Tracked> {
        let job = self.jobs.get::<()>(job);
        let ticket = job.ticket(Duration::from_secs(3600))?;
        let job = match job.status().await {
            Ok(status) => Some(status),
            Err(JobError::Gone) => None,
            Err(error) => return Err(error.into()),
        };
        // Read after the job: so a job that is done has its receipt.
        let receipt = self.store.receipt(&order.id).await?;
        let events = job.is_some().then(|| format!("/jobs/{ticket}/events"));
        Ok(Tracked {
            order,
            job,
            receipt,
            events,
        })
    }
}

impl Tracked {
    pub(crate) fn state(&self) -> JobState {
        match (&self.receipt, &self.job) {
            (Some(_), _) => JobState::Done,
            (None, Some(job)) => job.state,
            // It ended without a receipt, and was removed since.
            (None, None) => JobState::Dead,
        }
    }

    pub(crate) fn progress(&self) -> f64 {
        match (
            &self.receipt,
            self.job.as_ref().and_then(|job| job.progress.as_ref()),
        ) {
            (Some(_), _) => 1.0,
            (None, Some(progress)) => progress.fraction,
            (None, None) => 0.0,
        }
    }

    pub(crate) fn attempts(&self) -> u32 {
        match (&self.receipt, &self.job) {
            (Some(receipt), _) => receipt.attempt,
            (None, job) => job.as_ref().map_or(0, |job| job.attempts),
        }
    }
}
