//! A model of the protocol of durable jobs, not of its code: the steps of a few processes and a database, in every order.
//! Owns what a model is and how it is run.

mod lease;
mod models;
mod next;
mod protocol;
mod rows;
mod search;
mod state;
mod work;

pub use models::all;

use protocol::{Invariant, Rules, Step};
use search::Graph;
use state::{JOBS, State};

/// One model: its invariant, and the steps that it allows.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    /// The name in the tests and in `docs/models.md`.
    pub name: &'static str,
    /// The property that holds in every state.
    pub invariant: &'static str,
    /// The mistakes that the model must find.
    pub mistakes: &'static [&'static str],
    breaks: Invariant,
    rules: Rules,
}

impl Model {
    /// Visits every state of the model, with so many faults more than the model has. Returns their number.
    ///
    /// # Errors
    /// The shortest sequence of steps after which an invariant does not hold.
    pub fn check(&self, more_faults: u8) -> Result<usize, String> {
        let mut rules = self.rules;
        if rules.budget.faults > 0 {
            rules.budget.faults += more_faults;
        }
        self.search(rules)
    }

    /// Visits the states of a protocol that makes this mistake, until the invariant of this model does not hold. Returns their
    /// number if it always does.
    ///
    /// # Errors
    /// The shortest sequence of steps to there: the mistake is found.
    pub fn check_with(&self, mistake: &'static str) -> Result<usize, String> {
        self.search(Rules {
            mistake: Some(mistake),
            ..self.rules
        })
    }

    fn search(&self, rules: Rules) -> Result<usize, String> {
        let protocol = Protocol {
            // A mistake breaks more than one invariant. It must be found by the one whose model names it.
            only: rules.mistake.map(|_| self.breaks),
            rules,
        };
        search::search(&protocol, self.breaks == Invariant::CanEnd)
    }
}

struct Protocol {
    rules: Rules,
    /// The invariant that counts. All if absent.
    only: Option<Invariant>,
}

impl Graph for Protocol {
    type State = State;
    type Step = Step;

    fn initial(&self) -> State {
        self.rules.initial()
    }

    fn steps(&self, state: &State) -> Vec<Step> {
        self.rules.steps(state)
    }

    fn take(&self, state: &State, step: Step) -> Result<State, String> {
        let (next, broken) = self.rules.take(state, step);
        match broken.filter(|broken| self.only.is_none_or(|only| only == *broken)) {
            Some(broken) => Err(format!("{broken:?}")),
            None => Ok(next),
        }
    }

    fn is_allowed_to_end(&self, step: Step) -> bool {
        !step.is_fault()
    }

    fn is_end(&self, state: &State) -> bool {
        (0..JOBS).all(|job| state.is_over(job))
    }
}
