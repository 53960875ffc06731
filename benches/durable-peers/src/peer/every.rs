//! An interval for apalis's workers. That of apalis 1.0 is not polled again after it has passed, so a worker that finds nothing then
//! sleeps until its next heartbeat.

use apalis::prelude::{PollSnapshot, PollStrategy};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior, interval};

pub(super) struct Every(Interval);

impl Every {
    pub(super) fn new(period: Duration) -> Self {
        let mut interval = interval(period);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self(interval)
    }
}

impl PollStrategy for Every {
    fn poll_drive(&mut self, cx: &mut Context<'_>, _: &PollSnapshot) -> Poll<Option<()>> {
        let mut has_passed = false;
        // Until it is pending: only then it wakes.
        while self.0.poll_tick(cx).is_ready() {
            has_passed = true;
        }
        if has_passed {
            Poll::Ready(Some(()))
        } else {
            Poll::Pending
        }
    }
}
