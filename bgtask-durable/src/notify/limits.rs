//! How many streams are open, in all and by ticket. Must never know what they show.

use crate::lock;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// The streams of one router.
#[derive(Clone, Debug)]
pub(super) struct Limits(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    all: usize,
    per_ticket: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_ticket: HashMap<Box<str>, usize>,
}

/// Which limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    All,
    Ticket,
}

impl Limits {
    pub(super) fn new(all: usize, per_ticket: usize) -> Self {
        Self(Arc::new(Inner {
            all,
            per_ticket,
            open: Mutex::default(),
        }))
    }

    /// Counts one more stream, until the permit is dropped.
    pub(super) fn permit(&self, ticket: &str) -> Result<Permit, Full> {
        let mut open = lock(&self.0.open);
        if open.all >= self.0.all {
            return Err(Full::All);
        }
        let of_ticket = open.by_ticket.get(ticket).copied().unwrap_or(0);
        if of_ticket >= self.0.per_ticket {
            return Err(Full::Ticket);
        }
        open.all += 1;
        open.by_ticket.insert(ticket.into(), of_ticket + 1);
        Ok(Permit {
            limits: self.clone(),
            ticket: ticket.into(),
        })
    }
}

/// One open stream.
#[derive(Debug)]
pub(super) struct Permit {
    limits: Limits,
    ticket: Box<str>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut open = lock(&self.limits.0.open);
        open.all -= 1;
        if let Some(count) = open.by_ticket.get_mut(&self.ticket) {
            *count -= 1;
            if *count == 0 {
                open.by_ticket.remove(&self.ticket);
            }
        }
    }
}
