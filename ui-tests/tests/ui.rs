//! The inputs that do not compile and their messages: one file per case, or per few similar cases, in folders by subject.
//! Also checks that `pass` includes every case that compiles, and that `COMPARED.md` is up to date.
//!
//! `TRYBUILD=overwrite cargo test -p bgtask-ui-tests` rewrites the expected messages and the page; read the diff before you
//! commit it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Returns the files and folders of a folder, by name.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("an entry").path())
        .collect();
    entries.sort();
    entries
}

/// Returns the cases of `pass` or `fail`: the Rust files in each of its folders.
fn cases(kind: &str) -> Vec<PathBuf> {
    entries(&Path::new("tests").join(kind))
        .iter()
        .filter(|group| group.is_dir())
        .flat_map(|group| entries(group))
        .filter(|file| file.extension().is_some_and(|extension| extension == "rs"))
        .filter(|file| !file.ends_with("mod.rs"))
        .collect()
}

/// Returns whether the cases of a group run. With features on, only the groups about them run: the dependencies of a feature can change
/// the compiler's suggestions elsewhere, and the messages in `policies` about the missing feature would not appear.
fn is_for_these_features(group: &Path) -> bool {
    let of_features = [
        ("policies_cron", cfg!(feature = "cron")),
        ("policies_durable", cfg!(feature = "durable")),
    ];
    let own = of_features.iter().find(|(name, _)| group.ends_with(name));
    match own {
        Some((_, is_on)) => *is_on,
        None => of_features.iter().all(|(_, is_on)| !is_on),
    }
}

#[test]
fn fail() {
    let cases = trybuild::TestCases::new();
    for group in entries(Path::new("tests/fail")) {
        if is_for_these_features(&group) {
            cases.compile_fail(group.join("*.rs"));
        }
    }
    if cfg!(not(any(feature = "cron", feature = "durable"))) {
        cases.compile_fail("tests/compared/*/*.rs");
    }
    // The drop runs the cases.
    drop(cases);
    let page = compared();
    if std::env::var_os("TRYBUILD").is_some_and(|value| value == "overwrite") {
        fs::write("COMPARED.md", &page).expect("the page is written");
    }
    let written = fs::read_to_string("COMPARED.md").unwrap_or_default();
    assert!(
        written == page,
        "COMPARED.md does not match the messages in tests/compared"
    );
}

#[test]
fn no_case_is_left_out() {
    let (pass, fail) = (cases("pass"), cases("fail"));
    assert!(pass.len() >= 50, "{} cases compile", pass.len());
    assert!(fail.len() >= 70, "{} cases do not", fail.len());
    // Includes the cases for other features, which `fail` does not run.
    for file in fail {
        let message = file.with_extension("stderr");
        assert!(message.is_file(), "{} is missing", message.display());
    }
    for file in pass {
        let name = file.file_stem().expect("a name").to_string_lossy();
        let group = fs::read_to_string(file.with_file_name("mod.rs")).expect("the group");
        assert!(
            group.lines().any(|line| line == format!("mod {name};")),
            "{}",
            file.display()
        );
        let case = fs::read_to_string(&file).expect("the case");
        assert!(
            case.contains("#[test]") || case.contains("::test]"),
            "{} is not run",
            file.display()
        );
    }
}

/// Returns the page of pairs: the same mistake under `#[background]` and under a bare `tokio::spawn`.
fn compared() -> String {
    let mut page = String::from(
        "# The same mistake, with bgtask and with `tokio::spawn`\n\n\
         The compiler's message for each. Generated from the messages in [`tests/compared`](tests/compared) by \
         `TRYBUILD=overwrite cargo test -p bgtask-ui-tests --test ui`, and checked by the same test without the variable.\n\
         Notes that end in a signature of bgtask or tokio are as long as that signature.\n",
    );
    for (number, pair) in (1..).zip(entries(Path::new("tests/compared"))) {
        let (spawn, bgtask) = (Side::read(&pair, "spawn"), Side::read(&pair, "bgtask"));
        write!(
            page,
            "\n## {number}. {}\n\n{}\n\nbgtask:\n\n```rust\n{}\n```\n\n```text\n{}\n```\n\ntokio::spawn:\n\n```rust\n{}\n```\n\n\
             ```text\n{}\n```\n",
            spawn.remark, bgtask.remark, bgtask.code, bgtask.message, spawn.code, spawn.message,
        )
        .expect("writing to a string");
    }
    page
}

struct Side {
    /// The comment in the first line: one side describes the mistake, the other compares the messages.
    remark: String,
    code: String,
    message: String,
}

impl Side {
    fn read(pair: &Path, name: &str) -> Self {
        let file = pair.join(name).with_extension("rs");
        let source = fs::read_to_string(&file).expect("the code");
        let (remark, code) = source.split_once('\n').expect("two lines");
        Self {
            remark: remark.trim_start_matches("//! ").to_owned(),
            code: code.trim().to_owned(),
            message: fs::read_to_string(file.with_extension("stderr"))
                .unwrap_or_default()
                .trim_end()
                .to_owned(),
        }
    }
}
