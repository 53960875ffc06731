// The tests of a package: each model by itself, and once more per mistake that it must find. Knows nothing of the invariants.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// The model and the mistake, for a process that makes one.
const MISTAKE: &str = "BGTASK_MISTAKE";

/// Runs one model, and prints the number of orders or schedules.
fn run(model: &Model) {
    let begun = Instant::now();
    let tried = check(model);
    let Model {
        name, invariant, ..
    } = model;
    println!("{name}: {tried} in {:.1?}: {invariant}", begun.elapsed());
    let is_replay = std::env::var_os("BGTASK_SCHEDULE").is_some();
    assert!(
        tried > 1 || is_replay,
        "{name} has a single order, so it shows nothing"
    );
}

fn named(name: &str) -> Model {
    let all = all();
    let found = all.into_iter().find(|model| model.name == name);
    found.unwrap_or_else(|| panic!("no model is called `{name}`"))
}

/// Makes each of a model's mistakes in a separate process, because a panic while the checker unwinds ends the process.
fn is_found(name: &str) {
    let model = named(name);
    assert!(
        !model.mistakes.is_empty(),
        "{name} lists no mistake, so it may be unable to fail"
    );
    for mistake in model.mistakes {
        let itself = std::env::current_exe().expect("the test program has a path");
        let made = Command::new(itself)
            .args(["--exact", "makes_a_mistake", "--nocapture", "--ignored"])
            .env(MISTAKE, format!("{name} {mistake}"))
            .output()
            .expect("the test program starts");
        let output = String::from_utf8_lossy(&made.stderr);
        let symptom = output
            .lines()
            .find(|line| SYMPTOMS.iter().any(|symptom| line.contains(symptom)));
        assert!(
            !made.status.success() && symptom.is_some(),
            "{name} did not find `{mistake}`:\n{output}"
        );
        println!(
            "{name}: `{mistake}` found: {}",
            symptom.unwrap_or_default().trim()
        );
    }
}

/// The messages of a model that has found a mistake: of the model, of the checker, or of an overflow.
const SYMPTOMS: &[&str] = &[
    "the invariant does not hold",
    "deadlock",
    "subtract with overflow",
];

#[test]
#[ignore = "run by `is_found`, which expects it to fail"]
fn makes_a_mistake() {
    let Ok(which) = std::env::var(MISTAKE) else {
        return;
    };
    let (name, mistake) = which.split_once(' ').expect("a model and a mistake");
    let model = named(name);
    let known = model.mistakes.iter().find(|known| **known == mistake);
    break_on_purpose(known.expect("the model names it"));
    // Caught, because the checkers do not always let the process fail.
    if catch_unwind(AssertUnwindSafe(|| check(&model))).is_err() {
        std::process::exit(101);
    }
}

/// Returns the columns of `docs/models.md` that both checkers have, for one model.
fn row(model: &Model) -> String {
    let Model {
        name, invariant, ..
    } = model;
    let mistakes: Vec<_> = model
        .mistakes
        .iter()
        .map(|name| format!("`{name}`"))
        .collect();
    format!("| `{name}` | {invariant} | {} |", mistakes.join(", "))
}

#[test]
fn the_page_lists_every_model() {
    let page = include_str!("../../docs/models.md");
    let missing: Vec<_> = all()
        .iter()
        .map(row)
        .filter(|row| !page.contains(row))
        .collect();
    assert!(missing.is_empty(), "docs/models.md lacks {missing:#?}");
}

#[test]
fn every_mistake_in_the_code_is_one_that_a_model_finds() {
    let page = include_str!("../../docs/models.md");
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bgtask/src")];
    let mut found = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the source is there") {
            let path = entry.expect("the source can be read").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let code = fs::read_to_string(&path).expect("the source is text");
            for mistake in code.split("broken!(\"").skip(1) {
                let name = mistake.split('"').next().unwrap_or_default();
                assert!(page.contains(&format!("`{name}`")), "no model finds `{name}`");
                found += 1;
            }
        }
    }
    assert!(found > 0, "the source has mistakes to make");
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
                super::is_found(stringify!($name));
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
