//! Every state of the protocol of durable jobs; see `docs/models.md`.
#![expect(clippy::print_stdout, reason = "the numbers are for those who run it")]

use bgtask_durable_model::{Model, all};
use std::fs;
use std::path::Path;
use std::time::Instant;

fn named(name: &str) -> Model {
    let found = all().into_iter().find(|model| model.name == name);
    found.unwrap_or_else(|| panic!("no model is called `{name}`"))
}

/// Visits all states of a model, and prints their number.
fn run(model: &Model) {
    let more_faults = std::env::var("BGTASK_FAULTS").map_or(0, |faults| {
        faults.parse().expect("BGTASK_FAULTS is a number")
    });
    let begun = Instant::now();
    let Model {
        name, invariant, ..
    } = model;
    let states = model
        .check(more_faults)
        .unwrap_or_else(|trace| panic!("{name}: {trace}"));
    println!(
        "{name}: {states} states in {:.1?}: {invariant}",
        begun.elapsed()
    );
}

fn finds(model: &Model) {
    let name = model.name;
    assert!(
        !model.mistakes.is_empty(),
        "{name} lists no mistake, so it may be unable to fail"
    );
    for mistake in model.mistakes {
        match model.check_with(mistake) {
            Err(trace) => println!("{name}: `{mistake}` found: {trace}"),
            Ok(states) => panic!("{name} did not find `{mistake}` in {states} states"),
        }
    }
}

macro_rules! models {
    ($($name:ident)*) => {
        $(mod $name {
            #[test]
            fn holds() {
                super::run(&super::named(stringify!($name)));
            }

            #[test]
            fn finds_its_mistakes() {
                super::finds(&super::named(stringify!($name)));
            }
        })*

        #[test]
        fn every_model_is_run() {
            let here = [$(stringify!($name)),*];
            let missing: Vec<_> = all().iter().map(|model| model.name).filter(|name| !here.contains(name)).collect();
            assert!(missing.is_empty(), "{missing:?}");
        }
    };
}

models! {
    fence
    answer
    lease
    put_back
    every_job_ends
    alone
    attempts
    crashes
    complete_in
}

#[test]
fn the_page_lists_every_model() {
    let page = include_str!("../../../docs/models.md");
    let row = |model: &Model| {
        let mistakes = model.mistakes.iter().map(|name| format!("`{name}`"));
        format!(
            "| `{}` | {} | {} |",
            model.name,
            model.invariant,
            mistakes.collect::<Vec<_>>().join(", ")
        )
    };
    let missing: Vec<_> = all()
        .iter()
        .map(row)
        .filter(|row| !page.contains(row))
        .collect();
    assert!(missing.is_empty(), "docs/models.md lacks {missing:#?}");
}

#[test]
fn every_mistake_of_the_protocol_is_one_that_a_model_finds() {
    let known: Vec<_> = all().iter().flat_map(|model| model.mistakes).collect();
    let mut found = 0;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for entry in fs::read_dir(folder).expect("the source is there") {
        let path = entry.expect("the source can be read").path();
        let code = fs::read_to_string(path).expect("the source is text");
        for mistake in code.split("is_broken(\"").skip(1) {
            let name = mistake.split('"').next().unwrap_or_default();
            assert!(
                known.iter().any(|known| **known == name),
                "no model finds `{name}`"
            );
            found += 1;
        }
    }
    assert!(found > 0, "the protocol has mistakes to make");
}
