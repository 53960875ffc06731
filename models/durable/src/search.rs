//! Visits every state that the steps of a model reach, the nearest first. Must never know what a state means.

use foldhash::fast::FixedState;
use indexmap::IndexSet;
use std::fmt::{Debug, Write as _};
use std::hash::Hash;

/// A graph to search: its states, its steps, and the invariants.
pub(crate) trait Graph {
    type State: Clone + Eq + Hash;
    type Step: Copy + Debug;

    fn initial(&self) -> Self::State;
    fn steps(&self, state: &Self::State) -> Vec<Self::Step>;
    /// Returns the next state, or what the step breaks.
    fn take(&self, state: &Self::State, step: Self::Step) -> Result<Self::State, String>;
    /// Whether an end may need the step.
    fn is_allowed_to_end(&self, step: Self::Step) -> bool;
    fn is_end(&self, state: &Self::State) -> bool;
}

/// More states would not fit into the memory of a small machine.
const LIMIT: usize = 10_000_000;

/// Returns the number of states.
///
/// # Errors
/// The shortest sequence of steps to one that breaks something, or, if `must_end`, to a state from which no allowed steps lead to an
/// end.
pub(crate) fn search<G: Graph>(graph: &G, must_end: bool) -> Result<usize, String> {
    // In the order in which they were found.
    let mut states = IndexSet::with_hasher(FixedState::default());
    states.insert(graph.initial());
    // The step that led to each state first, and from where.
    let mut origins: Vec<(usize, Option<G::Step>)> = vec![(0, None)];
    // From where an allowed step leads to each state.
    let mut allowed: Vec<Vec<u32>> = vec![Vec::new()];
    let mut next = 0;
    while next < states.len() {
        let state = states[next].clone();
        for step in graph.steps(&state) {
            let reached = graph
                .take(&state, step)
                .map_err(|broken| trace(&origins, next, Some(step), &broken))?;
            let (number, is_new) = states.insert_full(reached);
            if is_new {
                origins.push((next, Some(step)));
                allowed.push(Vec::new());
            }
            if must_end && number != next && graph.is_allowed_to_end(step) {
                allowed[number].push(next as u32);
            }
        }
        assert!(states.len() <= LIMIT, "the model has too many states");
        next += 1;
    }
    if must_end && let Some(stuck) = first_without_end(graph, &states, &allowed) {
        return Err(trace(
            &origins,
            stuck,
            None,
            "from here, no job comes to its end",
        ));
    }
    Ok(states.len())
}

/// Returns the first state from which no allowed steps lead to an end.
fn first_without_end<G: Graph>(
    graph: &G,
    states: &IndexSet<G::State, FixedState>,
    allowed: &[Vec<u32>],
) -> Option<usize> {
    let mut can_end: Vec<bool> = states.iter().map(|state| graph.is_end(state)).collect();
    let mut found: Vec<_> = (0..states.len()).filter(|state| can_end[*state]).collect();
    while let Some(state) = found.pop() {
        for from in &allowed[state] {
            let from = *from as usize;
            if !std::mem::replace(&mut can_end[from], true) {
                found.push(from);
            }
        }
    }
    can_end.iter().position(|can_end| !can_end)
}

fn trace<Step: Copy + Debug>(
    origins: &[(usize, Option<Step>)],
    last: usize,
    step: Option<Step>,
    broken: &str,
) -> String {
    let mut steps: Vec<_> = step.into_iter().collect();
    let mut at = last;
    while let (from, Some(step)) = origins[at] {
        steps.push(step);
        at = from;
    }
    let mut text = format!("the invariant does not hold: {broken}");
    for step in steps.iter().rev() {
        // Writing to a string does not fail.
        let _ = write!(text, "\n  {step:?}");
    }
    text
}
