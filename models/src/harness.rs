// How a package's tests run its models: each by itself, and once more for each mistake it has to find.
// Knows nothing of what they show.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// Set for the process that makes a mistake: which model, and which mistake.
const MISTAKE: &str = "BGTASK_MISTAKE";

/// Runs one model, as `check` does; says how many orders or schedules that were.
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
        "{name} has a single order, and so shows nothing"
    );
}

fn named(name: &str) -> Model {
    let all = all();
    let found = all.into_iter().find(|model| model.name == name);
    found.unwrap_or_else(|| panic!("no model is called `{name}`"))
}

/// Makes each of a model's mistakes, in a process of its own: a panic while the checker unwinds ends that process.
fn is_found(name: &str) {
    let model = named(name);
    assert!(
        !model.mistakes.is_empty(),
        "nothing shows that {name} can fail"
    );
    for mistake in model.mistakes {
        let itself = std::env::current_exe().expect("a test has a file");
        let made = Command::new(itself)
            .args(["--exact", "makes_a_mistake", "--nocapture", "--ignored"])
            .env(MISTAKE, format!("{name} {mistake}"))
            .output()
            .expect("a test can be started once more");
        let said = String::from_utf8_lossy(&made.stderr);
        let how = said
            .lines()
            .find(|line| SYMPTOMS.iter().any(|symptom| line.contains(symptom)));
        assert!(
            !made.status.success() && how.is_some(),
            "{name} has not found `{mistake}`:\n{said}"
        );
        println!(
            "{name}: `{mistake}` found: {}",
            how.unwrap_or_default().trim()
        );
    }
}

/// What a model says that has found something: its own words, the checker's, or those of arithmetic on counts.
const SYMPTOMS: &[&str] = &[
    "the invariant does not hold",
    "deadlock",
    "subtract with overflow",
];

#[test]
#[ignore = "fails, for `is_found` to see it fail"]
fn makes_a_mistake() {
    let Ok(which) = std::env::var(MISTAKE) else {
        return;
    };
    let (name, mistake) = which.split_once(' ').expect("a model and a mistake");
    let model = named(name);
    let known = model.mistakes.iter().find(|known| **known == mistake);
    break_on_purpose(known.expect("the model names it"));
    // Caught, for the checkers do not always let the process fail with it.
    if catch_unwind(AssertUnwindSafe(|| check(&model))).is_err() {
        std::process::exit(101);
    }
}

/// The row of a model in `docs/models.md`, as far as both checkers have the same.
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
fn the_page_says_what_the_models_show() {
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
                assert!(page.contains(&format!("`{name}`")), "nobody finds `{name}`");
                found += 1;
            }
        }
    }
    assert!(found > 0, "the source says nothing of mistakes");
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
