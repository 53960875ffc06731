//! Every sentence of docs/durable-semantics.md has a test: `CONFORMANCE.md` is generated from the lines `/// Sentence N.M.` beside
//! the tests. With `--nocapture`, prints each sentence with its tests and their databases.
#![expect(clippy::print_stdout, reason = "the list is for those who run it")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

const SEMANTICS: &str = include_str!("../../docs/durable-semantics.md");

/// Sentences that are true, and have no test yet. Must become shorter only.
const WITHOUT_TEST: &[&str] = &[];

#[derive(Clone, Debug, PartialEq, Eq)]
struct Sentence {
    number: String,
    text: String,
}

impl Sentence {
    /// Whether it describes what is being built.
    fn is_planned(&self) -> bool {
        self.text.ends_with("*(not yet)*")
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Test {
    name: String,
    sentences: Vec<String>,
    databases: &'static str,
}

/// Returns the sentences by their sections, in the order of the page.
fn sections(page: &str) -> Vec<(String, Vec<Sentence>)> {
    let mut sections: Vec<(String, Vec<Sentence>)> = Vec::new();
    for line in page.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            sections.push((title.to_owned(), Vec::new()));
        }
        let Some((_, sentences)) = sections.last_mut() else {
            continue;
        };
        let start = line
            .strip_prefix("- **")
            .and_then(|rest| rest.split_once("** "));
        if let Some((number, text)) = start {
            sentences.push(Sentence {
                number: number.to_owned(),
                text: text.to_owned(),
            });
        } else if let (Some(more), Some(last)) = (line.strip_prefix("  "), sentences.last_mut()) {
            last.text += " ";
            last.text += more.trim();
        }
    }
    sections
}

/// Returns the numbers in a line `/// Sentence 4.1.` or `/// Sentences 4.1 and 4.2.`.
fn numbers(line: &str) -> Option<Vec<String>> {
    let rest = line.strip_prefix("/// Sentence")?;
    let words = rest.split([' ', ',']);
    let numbers = words.map(|word| word.trim_end_matches('.').to_owned());
    Some(
        numbers
            .filter(|word| word.starts_with(|first: char| first.is_ascii_digit()))
            .collect(),
    )
}

/// Returns the tests of a file, and what is wrong with their lines.
fn tests(file: &str, source: &str, wrong: &mut Vec<String>) -> Vec<Test> {
    let listed = |list: &str| -> Vec<&str> {
        let lists = source.split(list).skip(1);
        let names = lists.flat_map(|list| list.split('}').take(1));
        names
            .flat_map(str::split_whitespace)
            .map(|name| name.trim_end_matches(','))
            .collect()
    };
    let on_each = listed("on_each_database! {");
    let on_the_kit = listed("on_the_kit! {");
    let mut tests = Vec::new();
    let (mut sentences, mut is_test) = (Vec::new(), false);
    let lines: Vec<&str> = source.lines().collect();
    for (index, line) in lines.iter().enumerate() {
        let line = line.trim();
        sentences.extend(numbers(line).unwrap_or_default());
        is_test |= line == "#[test]" || line.starts_with("#[bgtask::test");
        let function = line.strip_prefix("fn ").or(line.strip_prefix("async fn "));
        let Some((name, _)) = function.and_then(|function| function.split_once('(')) else {
            continue;
        };
        let is_on_each = on_each.contains(&name);
        let sentences = std::mem::take(&mut sentences);
        if !std::mem::take(&mut is_test) && !is_on_each {
            if !sentences.is_empty() {
                wrong.push(format!(
                    "`{name}` in {file} names a sentence and is no test"
                ));
            }
            continue;
        }
        let body = lines[index..].iter().take_while(|line| **line != "}");
        let body: String = body.copied().collect();
        let databases = match () {
            () if is_on_each && on_the_kit.contains(&name) => "SQLite, Postgres, kit",
            () if is_on_each => "SQLite, Postgres",
            () if file.ends_with("kit.rs") => "kit",
            () if file.starts_with("tests/jobs/postgres") || file == "tests/pooler.rs" => {
                "Postgres"
            }
            () if file.contains("/sqlite/") || file == "tests/files.rs" => "SQLite",
            () if body.contains("with_postgres") || body.contains("Scratch::postgres") => {
                "Postgres"
            }
            () if body.contains("Scratch::sqlite") => "SQLite",
            () => "no database",
        };
        tests.push(Test {
            name: name.to_owned(),
            sentences,
            databases,
        });
    }
    tests
}

/// Returns the table, and what is wrong with the tests.
fn table(page: &str, without: &[&str], files: &BTreeMap<String, String>) -> (String, Vec<String>) {
    let sections = sections(page);
    let mut wrong = Vec::new();
    let mut of_sentence = BTreeMap::<String, Vec<String>>::new();
    let known: Vec<&str> = sections
        .iter()
        .flat_map(|(_, sentences)| sentences)
        .map(|sentence| &*sentence.number)
        .collect();
    for (file, source) in files {
        for test in tests(file, source, &mut wrong) {
            for number in test.sentences {
                if !known.contains(&&*number) {
                    wrong.push(format!(
                        "`{}` in {file} names the sentence {number}",
                        test.name
                    ));
                }
                let link = file
                    .strip_prefix("tests/")
                    .map_or(format!("../{file}"), str::to_owned);
                let row = format!("[`{}`]({link}): {}", test.name, test.databases);
                of_sentence.entry(number).or_default().push(row);
            }
        }
    }
    for number in without {
        if of_sentence.contains_key(*number) || !known.contains(number) {
            wrong.push(format!(
                "{number} is not to be in the list of those without a test"
            ));
        }
    }
    let mut text = "# Sentences and their tests\n\n\
        Generated from the lines `/// Sentence N.M.` beside the tests; do not edit.\n\
        `UPDATE_EXPECT=1 cargo test -p bgtask-durable --test conformance` updates it. The sentences are those of\n\
        [docs/durable-semantics.md](../../docs/durable-semantics.md).\n"
        .to_owned();
    for (title, sentences) in &sections {
        let _ = write!(text, "\n## {title}\n\n");
        for sentence in sentences {
            let _ = writeln!(text, "- **{}** {}", sentence.number, sentence.text);
            let tests = of_sentence.remove(&sentence.number).unwrap_or_default();
            for test in &tests {
                let _ = writeln!(text, "  - {test}");
            }
            if sentence.is_planned() && !tests.is_empty() {
                wrong.push(format!(
                    "{} has a test: remove its *(not yet)*",
                    sentence.number
                ));
            } else if tests.is_empty() {
                let _ = writeln!(text, "  - no test");
                if !sentence.is_planned() && !without.contains(&&*sentence.number) {
                    wrong.push(format!(
                        "{} has no test: {}",
                        sentence.number, sentence.text
                    ));
                }
            }
        }
    }
    (text, wrong)
}

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the sources by their path in the package, without this one.
fn files() -> BTreeMap<String, String> {
    fn read(folder: PathBuf, into: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                read(path, into);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && !path.ends_with("conformance.rs")
            {
                let name = path.strip_prefix(package()).expect("in the package");
                let name = name.to_str().expect("a name").replace('\\', "/");
                into.insert(name, fs::read_to_string(path).expect("a source"));
            }
        }
    }
    let mut files = BTreeMap::new();
    read(package().join("tests"), &mut files);
    read(package().join("src"), &mut files);
    files
}

#[test]
fn every_sentence_has_a_test_and_the_table_is_up_to_date() {
    let (table, wrong) = table(SEMANTICS, WITHOUT_TEST, &files());
    println!("{table}");
    let path = package().join("tests/CONFORMANCE.md");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, &table).expect("it is written");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let written = fs::read_to_string(&path).unwrap_or_default();
    let difference = written
        .lines()
        .zip(table.lines())
        .find(|(written, expected)| written != expected);
    assert!(
        written == table,
        "tests/CONFORMANCE.md is out of date: `UPDATE_EXPECT=1 cargo test -p bgtask-durable --test conformance`. {difference:?}"
    );
}

#[test]
fn an_unknown_sentence_and_one_that_has_lost_its_test_are_found() {
    let page = "# Page\n\n## 1. First\n\n- **1.1** One\n  and more.\n- **1.2** Two.\n- **1.3** Three. *(not yet)*\n- **1.4** Four.\n";
    let source = "/// Sentences 1.1 and 9.9.\nfn both(scratch: Scratch) {\n}\n\n\
        on_each_database! {\n    async\n    both,\n}\n\n\
        /// Sentence 1.3.\n#[test]\nfn alone() {\n    with_postgres(||\n}\n\n\
        /// Sentence 1.1.\nfn helper() {}\n";
    let files = BTreeMap::from([("tests/one.rs".to_owned(), source.to_owned())]);
    let (text, wrong) = table(page, &["1.4", "1.1"], &files);
    assert!(
        text.contains("- **1.1** One and more.\n  - [`both`](one.rs): SQLite, Postgres\n"),
        "{text}"
    );
    assert!(text.contains("  - [`alone`](one.rs): Postgres\n"), "{text}");
    assert_eq!(
        wrong,
        [
            "`helper` in tests/one.rs names a sentence and is no test",
            "`both` in tests/one.rs names the sentence 9.9",
            "1.1 is not to be in the list of those without a test",
            "1.2 has no test: Two.",
            "1.3 has a test: remove its *(not yet)*",
        ]
    );
}
