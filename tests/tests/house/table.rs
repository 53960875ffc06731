//! The table in `tests/README.md` is true: it lists every test of this package, and no other. And what `docs/proof.md` names
//! is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The functions marked as tests, but for those that fail on purpose.
fn tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    for folder in fs::read_dir(tests).unwrap() {
        for file in fs::read_dir(folder.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            if path.ends_with("house/table.rs") || path.ends_with("kit/user.rs") {
                continue;
            }
            let source = fs::read_to_string(path).unwrap();
            for attribute in ["#[test]\n", "#[bgtask::test"] {
                let after_each = source.split(attribute).skip(1);
                names.extend(after_each.filter_map(|rest| {
                    let (_, from_name) = rest.split_once("fn ")?;
                    Some(from_name.split_once('(')?.0.to_owned())
                }));
            }
        }
    }
    names
}

/// What stands on a page in backticks and brackets and links to a file in `folder`, unless it is that file's own name.
fn listed(page: &str, folder: &str) -> BTreeSet<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    let page = fs::read_to_string(page).unwrap();
    let link = format!("`]({folder}");
    page.split("[`")
        .filter_map(|rest| rest.split_once(&link))
        .map(|(name, _)| name.to_owned())
        .filter(|name| !name.ends_with(".rs"))
        .collect()
}

#[test]
fn the_table_of_behaviours_lists_every_test() {
    let (tests, listed) = (tests(), listed("README.md", "tests/"));
    assert!(tests.len() > 50, "{tests:?}");
    let missing: Vec<_> = tests.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&tests).collect();
    assert!(
        missing.is_empty() && gone.is_empty(),
        "not in the table: {missing:?}; only in the table: {gone:?}"
    );
}

#[test]
fn the_tests_that_the_page_on_proof_names_are_there() {
    let named = listed("../docs/proof.md", "../tests/tests/");
    assert!(named.len() > 5, "{named:?}");
    let gone: Vec<_> = named.difference(&tests()).cloned().collect();
    assert!(gone.is_empty(), "{gone:?}");
}
