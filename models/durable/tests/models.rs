//! Every state of the protocol of durable jobs; see `docs/models.md`.
#![expect(clippy::print_stdout, reason = "the numbers are for those who run it")]

use bgtask_durable_model::{Model, all};
use std::time::Instant;

#[test]
fn each_model_holds() {
    for model in all().into_iter().filter(|m| std::env::var("M").is_ok_and(|n| n == m.name)) {
        let begun = Instant::now();
        let states = model.check().unwrap_or_else(|trace| panic!("{}: {trace}", model.name));
        println!("{}: {states} states in {:.1?}: {}", model.name, begun.elapsed(), model.invariant);
    }
}

#[test]
fn each_model_finds_its_mistakes() {
    for model in all().into_iter().filter(|m| std::env::var("M").is_ok_and(|n| n == m.name)) {
        for mistake in model.mistakes {
            let begun = Instant::now();
            let found = model.check_with(mistake);
            match found {
                Ok(states) => println!("{} did not find `{mistake}` in {states} states {:?}", model.name, begun.elapsed()),
                Err(found) => println!("{}: `{mistake}` found {:?}: {found}", model.name, begun.elapsed()),
            }
        }
    }
}
