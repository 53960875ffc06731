//! A model of the protocol of durable jobs, not of its code: the steps of a few processes and a database, in every order.
//! Owns what a model is and how it is run.

mod lease;
mod models;
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
    /// Visits every state of the model. Returns their number.
    ///
    /// # Errors
    /// The shortest sequence of steps after which an invariant does not hold.
    pub fn check(&self) -> Result<usize, String> {
        self.search(None)
    }

    /// Visits the states of a protocol that makes this mistake, until the invariant of this model does not hold.
    ///
    /// # Errors
    /// The shortest sequence of steps to there: the mistake is found.
    pub fn check_with(&self, mistake: &'static str) -> Result<usize, String> {
        self.search(Some(mistake))
    }

    fn search(&self, mistake: Option<&'static str>) -> Result<usize, String> {
        let rules = Rules {
            mistake,
            ..self.rules
        };
        let protocol = Protocol {
            rules,
            // A mistake breaks more than one invariant. It must be found by the one whose model names it.
            only: mistake.map(|_| self.breaks),
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
