//! The models: the invariant of each, the steps that it allows, and the mistakes that it must find.
//! Must never know what a step does.

use crate::Model;
use crate::protocol::{Delivery, Invariant, Rules};
use crate::state::Budget;

const NOTHING: Budget = Budget {
    faults: 0,
    crashes: 0,
    stops: 0,
    stalls: 0,
    shutdowns: 0,
    hangs: 0,
    starts: 0,
};

const PLAIN: Rules = Rules {
    processes: 2,
    jobs: 1,
    budget: NOTHING,
    deliveries: &[
        Delivery::ReplyLost,
        Delivery::ReplyLate,
        Delivery::Late,
        Delivery::Slow,
    ],
    in_transaction: false,
    bodies_end: true,
    registers: false,
    is_timed: false,
    mistake: None,
};

/// All models.
pub fn all() -> Vec<Model> {
    vec![
        Model {
            name: "fence",
            invariant: "the end of a job is recorded once, by the one attempt that holds the job, however late or often a record comes",
            mistakes: &[
                "no_fence",
                "fence_without_time",
                "returned_without_claim",
                "any_claim_taken",
            ],
            breaks: Invariant::EndedOnce,
            rules: Rules {
                budget: Budget {
                    faults: 1,
                    stops: 1,
                    crashes: 1,
                    shutdowns: 1,
                    ..NOTHING
                },
                ..PLAIN
            },
        },
        Model {
            name: "answer",
            invariant: "an attempt whose record has ended its job gets that answer at last, however many replies are lost",
            mistakes: &["lost_reply_taken_for_lost_job"],
            breaks: Invariant::Answered,
            rules: Rules {
                deliveries: &[Delivery::ReplyLost, Delivery::Late],
                budget: Budget {
                    faults: 2,
                    stops: 1,
                    ..NOTHING
                },
                ..PLAIN
            },
        },
        Model {
            name: "lease",
            invariant: "a process whose beats reach the database whenever those of others do loses no job",
            mistakes: &[
                "own_lateness_ignored",
                "rescued_whatever_has_changed",
                "rescued_by_age",
            ],
            breaks: Invariant::LiveKeeps,
            rules: Rules {
                is_timed: true,
                bodies_end: false,
                budget: Budget {
                    faults: 0,
                    stops: 1,
                    stalls: 1,
                    ..NOTHING
                },
                ..PLAIN
            },
        },
        Model {
            name: "put_back",
            invariant: "a claim is put back only when its process has not held it for one time to live",
            mistakes: &["put_back_at_once", "wait_cut_short_by_an_error"],
            breaks: Invariant::PutBackLate,
            rules: Rules {
                processes: 1,
                jobs: 2,
                is_timed: true,
                deliveries: &[Delivery::ReplyLost],
                budget: Budget {
                    faults: 3,
                    ..NOTHING
                },
                ..PLAIN
            },
        },
        Model {
            name: "every_job_ends",
            invariant: "from every state, each job can come to its end without a further fault, except under a body that never ends",
            mistakes: &[
                "no_reconcile",
                "held_after_its_lease",
                "rows_without_worker_ignored",
                "rescued_without_mark",
            ],
            breaks: Invariant::CanEnd,
            rules: Rules {
                registers: true,
                deliveries: &[Delivery::ReplyLost],
                budget: Budget {
                    faults: 1,
                    stops: 1,
                    crashes: 1,
                    hangs: 1,
                    starts: 1,
                    ..NOTHING
                },
                ..PLAIN
            },
        },
        Model {
            name: "alone",
            invariant: "a process that is alone comes to work, and each job to its end, whatever reply was lost",
            mistakes: &["registration_not_repeatable"],
            breaks: Invariant::CanEnd,
            rules: Rules {
                processes: 1,
                registers: true,
                budget: Budget {
                    faults: 2,
                    crashes: 1,
                    starts: 1,
                    ..NOTHING
                },
                ..PLAIN
            },
        },
        Model {
            name: "attempts",
            invariant: "an attempt counts if, and only if, it ended by itself: not if it was returned, put back or rescued",
            mistakes: &["return_counts_the_attempt"],
            breaks: Invariant::NotCounted,
            rules: Rules {
                deliveries: &[Delivery::ReplyLost, Delivery::Late],
                budget: Budget {
                    faults: 1,
                    crashes: 1,
                    stops: 1,
                    shutdowns: 1,
                    ..NOTHING
                },
                ..PLAIN
            },
        },
        Model {
            name: "crashes",
            invariant: "a claim counts at most one crash, and none if its process has ended with a shutdown",
            mistakes: &[
                "leaves_lost_claims",
                "leaves_before_its_claims",
                "rescued_whatever_has_changed",
            ],
            breaks: Invariant::CountedOnce,
            rules: Rules {
                budget: Budget {
                    faults: 1,
                    crashes: 1,
                    shutdowns: 1,
                    starts: 2,
                    ..NOTHING
                },
                ..PLAIN
            },
        },
        Model {
            name: "complete_in",
            invariant: "the rows of a transaction with `complete_in` are there if, and only if, it has ended the job",
            mistakes: &["body_believed_after_complete_in", "completes_without_claim"],
            breaks: Invariant::WrittenWithEnd,
            rules: Rules {
                in_transaction: true,
                deliveries: &[Delivery::ReplyLost],
                budget: Budget {
                    faults: 1,
                    crashes: 1,
                    stops: 1,
                    shutdowns: 1,
                    ..NOTHING
                },
                ..PLAIN
            },
        },
    ]
}
