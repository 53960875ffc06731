//! The state of durable functions. A binary of its own: a store waits a while for the state of all functions of its program.

#[path = "support/store.rs"]
mod store;
mod support;

use bgtask::durable::JobState;
use bgtask::{State, background};
use store::with_store;
use support::{Scratch, on_each_database, on_the_kit};

#[background(durable)]
async fn nothing() {}

#[background(durable)]
async fn of_another_state(State(number): State<u8>) -> u8 {
    number
}

/// Sentence 6.6.
fn a_function_without_its_state_waits_and_keeps_no_other_waiting(scratch: Scratch) {
    with_store(&scratch, |_| async {
        let waiting = of_another_state().await.expect("it is stored");
        nothing()
            .await
            .expect("it is stored")
            .outcome()
            .await
            .expect("it runs");
        assert_eq!(
            waiting.status().await.expect("it is there").state,
            JobState::Waiting
        );
        bgtask::provide(5_u8);
        assert_eq!(waiting.outcome().await, Ok(5));
    });
}

on_each_database! {
    a_function_without_its_state_waits_and_keeps_no_other_waiting,
}

on_the_kit! {
    a_function_without_its_state_waits_and_keeps_no_other_waiting,
}
