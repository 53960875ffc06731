//! Every link of a Markdown page leads to a file of the repository, and to a heading that is there; and so do the addresses of pages in
//! the documentation of the crates. Addresses of other sites are not checked.

use pulldown_cmark::{BrokenLink, Event, Options, Parser, Tag, TagEnd};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// The address of the repository's files, as the guide and the documentation of the crates name them.
const ADDRESS: &str = "https://github.com/bgtask/bgtask/blob/main/";

/// Folders that contain no files of ours.
const FOREIGN: [&str; 3] = ["target", "node_modules", ".git"];

/// What is no page by itself: fragments and copies of pages in `docs`, and documents that the example `pages` serves at paths of its own.
const NO_PAGES: [&str; 4] = [
    "benches/durable-peers/src",
    "bgtask/benches/cost",
    "bgtask-durable/tests/CONFORMANCE.md",
    "examples/pages/documents",
];

/// What a page has that others may link to, and what it links to.
#[derive(Debug, Default)]
struct Page {
    anchors: BTreeSet<String>,
    links: Vec<Link>,
}

#[derive(Debug, PartialEq, Eq)]
struct Link {
    line: usize,
    target: String,
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .unwrap()
}

/// Returns the files of the repository that end like this, by their path.
fn files(extension: &str) -> BTreeMap<PathBuf, String> {
    fn read(folder: &Path, extension: &str, into: &mut BTreeMap<PathBuf, String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let (path, name) = (entry.path(), entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                if !FOREIGN.iter().any(|foreign| name == *foreign) {
                    read(&path, extension, into);
                }
            } else if path.extension().is_some_and(|own| own == extension) {
                into.insert(path.clone(), fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut all = BTreeMap::new();
    read(&repository(), extension, &mut all);
    all
}

fn line_of(text: &str, offset: usize) -> usize {
    text[..offset].matches('\n').count() + 1
}

/// Reads a page. A reference without its definition is a link to nowhere.
fn page(text: &str) -> Page {
    let mut page = Page::default();
    let mut undefined = Vec::new();
    let mut on_undefined = |link: BrokenLink<'_>| {
        // `[x]` alone is text; `[x][y]` is a link.
        if matches!(link.link_type, pulldown_cmark::LinkType::Reference) {
            let line = line_of(text, link.span.start);
            let target = format!("[{}]", link.reference);
            undefined.push(Link { line, target });
        }
        None
    };
    let parser = Parser::new_with_broken_link_callback(
        text,
        Options::ENABLE_TABLES | Options::ENABLE_GFM,
        Some(&mut on_undefined),
    );
    let mut heading: Option<String> = None;
    let mut repeated = BTreeMap::new();
    for (event, range) in parser.into_offset_iter() {
        let line = line_of(text, range.start);
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => {
                let anchor = anchor(&heading.take().unwrap_or_default());
                let earlier: &mut usize = repeated.entry(anchor.clone()).or_default();
                page.anchors.insert(match *earlier {
                    0 => anchor,
                    earlier => format!("{anchor}-{earlier}"),
                });
                *earlier += 1;
            }
            Event::Text(part) | Event::Code(part) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&part);
                }
            }
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                let target = dest_url.into_string();
                page.links.push(Link { line, target });
            }
            Event::Html(html) | Event::InlineHtml(html) => {
                let values = |name| attributes(&html, name).map(str::to_owned);
                page.anchors
                    .extend(values("id=\"").chain(values("name=\"")));
                let targets = values("href=\"").chain(values("src=\""));
                page.links
                    .extend(targets.map(|target| Link { line, target }));
            }
            _ => {}
        }
    }
    page.links.append(&mut undefined);
    page
}

/// Returns the values of an attribute; `name` includes the `="`.
fn attributes<'a>(html: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    let rests = html.split(name).skip(1);
    rests.filter_map(|rest| Some(rest.split_once('"')?.0))
}

/// Returns the anchor that GitHub gives to a heading.
fn anchor(heading: &str) -> String {
    let mut anchor = String::new();
    for character in heading.trim().to_lowercase().chars() {
        match character {
            ' ' => anchor.push('-'),
            '-' | '_' => anchor.push(character),
            _ if character.is_alphanumeric() => anchor.push(character),
            _ => {}
        }
    }
    anchor
}

/// Returns what is wrong with a link of the file at `from`.
fn wrong(from: &Path, target: &str, pages: &BTreeMap<PathBuf, Page>) -> Option<String> {
    let root = repository();
    let (path, anchor) = match target.split_once('#') {
        Some((path, anchor)) => (path, Some(anchor)),
        None => (target, None),
    };
    let file = if let Some(path) = path.strip_prefix(ADDRESS) {
        root.join(path)
    } else if path.contains("://") || path.starts_with("mailto:") {
        return None;
    } else if path.is_empty() {
        from.to_owned()
    } else if path.starts_with('[') {
        return Some("the reference is not defined".to_owned());
    } else {
        from.parent()?.join(path)
    };
    let file = without_dots(&file);
    if !file.starts_with(&root) {
        return Some("the file is outside of the repository".to_owned());
    }
    if !file.exists() {
        return Some("there is no such file".to_owned());
    }
    // The lines of sources move; only pages have headings.
    let page = pages.get(&file)?;
    let anchor = anchor?;
    (!page.anchors.contains(anchor)).then(|| format!("the page has no heading `#{anchor}`"))
}

/// Resolves `..` by the path alone.
fn without_dots(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                clean.pop();
            }
            Component::CurDir => {}
            _ => clean.push(component),
        }
    }
    clean
}

fn pages() -> BTreeMap<PathBuf, Page> {
    let no_pages = NO_PAGES.map(|path| repository().join(path));
    let mut files = files("md");
    files.retain(|path, _| !no_pages.iter().any(|no_page| path.starts_with(no_page)));
    files
        .into_iter()
        .map(|(path, text)| (path, page(&text)))
        .collect()
}

#[test]
fn every_link_of_a_page_leads_somewhere() {
    let pages = pages();
    let mut checked = 0;
    let mut broken = Vec::new();
    for (path, page) in &pages {
        for link in &page.links {
            checked += 1;
            if let Some(wrong) = wrong(path, &link.target, &pages) {
                let path = path.strip_prefix(repository()).unwrap().display();
                broken.push(format!("{path}:{}: {}: {wrong}", link.line, link.target));
            }
        }
    }
    assert!(checked > 300, "the parser finds links: {checked}");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_page_that_the_documentation_of_a_crate_names_is_there() {
    let pages = pages();
    let mut checked = 0;
    let mut broken = Vec::new();
    for (path, source) in files("rs") {
        // This file names pages that do not exist.
        if path.ends_with("repository/links.rs") {
            continue;
        }
        for (index, line) in source.lines().enumerate() {
            for (start, _) in line.match_indices(ADDRESS) {
                let ends =
                    |character: char| character.is_whitespace() || ")>\"`".contains(character);
                let target = line[start..].split(ends).next().unwrap_or_default();
                checked += 1;
                if let Some(wrong) = wrong(&path, target, &pages) {
                    broken.push(format!(
                        "{}:{}: {target}: {wrong}",
                        path.display(),
                        index + 1
                    ));
                }
            }
        }
    }
    assert!(checked > 20, "the crates name pages: {checked}");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// The guide is a book: each page is in its table of contents, and has its blocks compiled.
#[test]
fn every_page_of_the_guide_is_listed_and_compiled() {
    let guide = repository().join("docs/guide");
    let read = |name: &str| fs::read_to_string(guide.join(name)).unwrap();
    let (summary, compiled) = (read("src/SUMMARY.md"), read("pages.rs"));
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(guide.join("src")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name != "SUMMARY.md" {
            names.insert(name);
        }
    }
    assert!(names.len() > 5, "{names:?}");
    for name in names {
        assert!(
            summary.contains(&format!("({name})")),
            "{name} is not in SUMMARY.md"
        );
        assert!(
            compiled.contains(&format!("= \"{name}\",")),
            "{name} is not in pages.rs"
        );
        let page = read(&format!("src/{name}"));
        assert!(page.contains("```rust"), "{name} has no program");
        assert!(
            !page.contains("ignore"),
            "{name} has a block that is not compiled"
        );
    }
}

#[test]
fn anchors_are_those_of_github() {
    for (heading, expected) in [
        ("The order", "the-order"),
        ("`#[background]` and `spawn!`", "background-and-spawn"),
        ("What happens when …", "what-happens-when-"),
        ("Blocks: `spawn!`", "blocks-spawn"),
        ("`State<T>`", "statet"),
        ("A body that may run twice", "a-body-that-may-run-twice"),
    ] {
        let page = page(&format!("# {heading}\n\n## {heading}\n"));
        let expected = [expected.to_owned(), format!("{expected}-1")];
        assert_eq!(page.anchors, BTreeSet::from(expected), "{heading}");
    }
}

#[test]
fn links_are_found_and_judged() {
    let text = "\
# A page

[file](../README.md), [gone](gone.md), [heading](#a-page), [no heading](#no-page), ![picture](gone.png)
<img src=\"gone.svg\"> `[code](gone.md)` [outside](../../../outside.md) [site](https://example.org/gone)

[by name][name] and [not defined][nowhere], [alone]

```text
[block](gone.md)
```

[name]: https://github.com/bgtask/bgtask/blob/main/docs/gone.md#x
";
    let path = repository().join("docs/page.md");
    let pages = BTreeMap::from([(path.clone(), page(text))]);
    let links = pages[&path].links.iter();
    // The page itself is not there.
    let judged = links.filter(|link| link.target != "#a-page" && link.target != "#no-page");
    let broken = judged.filter(|link| wrong(&path, &link.target, &pages).is_some());
    let broken: Vec<_> = broken.map(|link| (link.line, &*link.target)).collect();
    let expected = [
        (3, "gone.md"),
        (3, "gone.png"),
        (4, "gone.svg"),
        (4, "../../../outside.md"),
        (
            6,
            "https://github.com/bgtask/bgtask/blob/main/docs/gone.md#x",
        ),
        (6, "[nowhere]"),
    ];
    assert_eq!(broken, expected);
    // An anchor is judged by the headings of the page that it names.
    let existing = repository().join("README.md");
    let pages = BTreeMap::from([(existing.clone(), page(text))]);
    assert_eq!(wrong(&existing, "#a-page", &pages), None);
    assert!(wrong(&existing, "#no-page", &pages).is_some());
    assert!(wrong(&path, "../README.md#no-page", &pages).is_some());
}
