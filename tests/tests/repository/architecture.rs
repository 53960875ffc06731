//! The modules of a crate import downwards only, in the order that the crate documents once: bgtask in the picture in CONTRIBUTING.md,
//! bgtask-macros in its `lib.rs`.

use crate::imports::{Folder, Import, Sources, read_sources};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const PACKAGES: [&str; 2] = ["bgtask", "bgtask-macros"];

/// The modules of a package from top to bottom: the first column of its picture. The words of one line are ordered from left to right.
fn documented_order(package: &str) -> Vec<String> {
    let (file, before, prefix, after) = match package {
        "bgtask" => ("CONTRIBUTING.md", "\n## The house\n", "", "\n```\n"),
        _ => (
            "bgtask-macros/src/lib.rs",
            "\n// The folders, from the top",
            "// ",
            "\n\n",
        ),
    };
    let page = fs::read_to_string(repository().join(file)).unwrap();
    let (_, section) = page.split_once(before).expect("the section");
    let start = if prefix.is_empty() {
        "\n```text\n"
    } else {
        "\n//\n"
    };
    let (_, block) = section.split_once(start).expect("the picture");
    let (block, _) = block.split_once(after).expect("its end");
    let lines = block.lines().filter_map(|line| line.strip_prefix(prefix));
    let column = lines.filter_map(|line| Some(line.split_once("  ")?.0));
    let names = column.flat_map(str::split_whitespace);
    names.map(str::to_owned).collect()
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns the imports that lead upwards.
fn upward<'a>(order: &[String], imports: &'a [Import]) -> Vec<&'a Import> {
    let position = |module: &str| order.iter().position(|name| name == module);
    // The root of the crate is above everything.
    let is_upward = |import: &&Import| match position(&import.to) {
        Some(to) => position(&import.from).is_some_and(|from| from > to),
        None => true,
    };
    imports.iter().filter(is_upward).collect()
}

/// Returns the modules that import each other, directly or through others.
fn circle(imports: &[Import]) -> BTreeSet<&str> {
    let mut edges: BTreeSet<_> = imports
        .iter()
        .map(|import| (&*import.from, &*import.to))
        .collect();
    // Takes away the edges from modules that nothing imports and to modules that import nothing, until the rest is a circle.
    loop {
        let before = edges.len();
        let from: BTreeSet<_> = edges.iter().map(|(from, _)| *from).collect();
        let to: BTreeSet<_> = edges.iter().map(|(_, to)| *to).collect();
        edges.retain(|edge| to.contains(edge.0) && from.contains(edge.1));
        if edges.len() == before {
            return edges.into_iter().map(|(from, _)| from).collect();
        }
    }
}

fn sources_of(package: &str) -> Sources {
    read_sources(&repository().join(package).join("src"))
}

/// Returns the imports from one module of the root to another.
fn imports_of_root(sources: &Sources) -> Vec<Import> {
    Folder::all(sources)[0].imports(sources)
}

#[test]
fn the_picture_of_the_house_lists_every_module_once() {
    for package in PACKAGES {
        let order = documented_order(package);
        let listed: BTreeSet<_> = order.iter().cloned().collect();
        assert_eq!(
            listed.len(),
            order.len(),
            "a module is listed twice: {order:?}"
        );
        let sources = sources_of(package);
        let modules = Folder::all(&sources)[0].modules(&sources);
        let missing: Vec<_> = modules.difference(&listed).collect();
        let gone: Vec<_> = listed.difference(&modules).collect();
        assert!(
            missing.is_empty() && gone.is_empty(),
            "only in {package}/src: {missing:?}; only in its picture: {gone:?}"
        );
    }
}

#[test]
fn no_module_imports_from_one_above_it() {
    for package in PACKAGES {
        let imports = imports_of_root(&sources_of(package));
        assert!(imports.len() > 100, "the parser finds imports");
        let upward: Vec<_> = upward(&documented_order(package), &imports)
            .iter()
            .map(|import| format!("{}: {} -> {}", import.location, import.from, import.to))
            .collect();
        assert!(
            upward.is_empty(),
            "imports upwards in {package}:\n{}",
            upward.join("\n")
        );
    }
}

// A folder's `mod.rs` may use all files of the folder, and they may use what it defines, so it is no module of the circle.
#[test]
fn no_modules_of_a_folder_import_each_other() {
    for package in PACKAGES {
        let sources = sources_of(package);
        for folder in Folder::all(&sources) {
            let imports = folder.imports(&sources);
            let circle = circle(&imports);
            assert!(
                circle.is_empty(),
                "{package}/src/{}: modules around a circle: {circle:?}",
                folder.path()
            );
        }
    }
}

/// A crate with the modules `top`, `middle` and `bottom`.
fn made_up(bottom: &str) -> Vec<Import> {
    let files = [
        (
            "lib.rs",
            "mod bottom; mod middle; mod top; pub use top::Top; use middle::{Middle, other}; #[path = \"x.rs\"] pub mod elsewhere;",
        ),
        (
            "top.rs",
            "use crate::middle::{Middle, inner::Inner}; use crate::bottom;",
        ),
        (
            "middle/mod.rs",
            "mod inner; pub(crate) use inner::Inner; use super::bottom::Bottom;",
        ),
        (
            "middle/inner.rs",
            "use super::Middle; fn inner() { super::super::bottom::work(); }",
        ),
        ("bottom.rs", bottom),
    ];
    let files = files.map(|(name, source)| (name.to_owned(), source.to_owned()));
    imports_of_root(&Sources::from(files))
}

fn made_up_order() -> [String; 3] {
    ["top", "middle", "bottom"].map(str::to_owned)
}

#[test]
fn imports_downwards_are_found_and_allowed() {
    let found = made_up("pub(crate) struct Bottom;");
    let edges: Vec<_> = found
        .iter()
        .map(|import| (&*import.location, &*import.to))
        .collect();
    let expected = [
        ("middle/inner.rs:1", "bottom"),
        ("middle/mod.rs:1", "bottom"),
        ("top.rs:1", "middle"),
        ("top.rs:1", "bottom"),
    ];
    assert_eq!(edges, expected);
    assert_eq!(upward(&made_up_order(), &found), Vec::<&Import>::new());
    assert!(circle(&found).is_empty());
}

#[test]
fn an_import_upwards_is_found_in_every_form() {
    for upwards in [
        "use crate::top::Top;",
        "use crate::Top;",
        "use crate::{bottom, middle::{Middle, inner}};",
        "use crate::other;",
        "fn work() -> crate::middle::Middle { todo() }",
        "mod inner { use super::super::middle::Middle; }",
        "use super::top;",
        "use crate::item_of_the_root;",
        "const MIDDLE: char = '\"'; fn work() { crate::middle::other(\"a\\\"b\") }",
        "fn work<'a>(_: &'a str) { /* \" */ let _ = r#\"\"\"#; super::middle::other() }",
    ] {
        let found = made_up(&format!("//! Knows nothing.\n{upwards}"));
        let order = made_up_order();
        let upward = upward(&order, &found);
        assert_eq!(upward.len(), 1, "{upwards}: {found:?}");
        assert_eq!(upward[0].location, "bottom.rs:2");
        // Those to the root are upwards without being part of a circle.
        let is_circle = upward[0].to != "lib";
        assert_eq!(circle(&found).contains("bottom"), is_circle, "{upwards}");
    }
}

#[test]
fn a_circle_within_a_folder_is_found() {
    for (left, right, is_circle) in [
        ("use super::right::Right;", "use super::Left;", true),
        (
            "use crate::folder::{Helper, right::{Right}};",
            "fn left() -> super::left::Left { todo() }",
            true,
        ),
        (
            "mod tests { use super::super::right::Right; }",
            "use crate::{folder::Left as Other};",
            true,
        ),
        // Files may use what the head of their folder defines.
        (
            "use super::right::Right; use super::Helper;",
            "use crate::folder::Helper;",
            false,
        ),
    ] {
        let files = [
            ("lib.rs", "mod folder;"),
            (
                "folder/mod.rs",
                "mod left; mod right; pub(crate) use left::Left; struct Helper;",
            ),
            ("folder/left.rs", left),
            ("folder/right.rs", right),
        ];
        let files = files.map(|(name, source)| (name.to_owned(), source.to_owned()));
        let sources = Sources::from(files);
        let folders = Folder::all(&sources);
        assert_eq!(folders.len(), 2);
        assert!(circle(&folders[0].imports(&sources)).is_empty());
        let imports = folders[1].imports(&sources);
        let expected = if is_circle {
            &["left", "right"][..]
        } else {
            &[]
        };
        let found: Vec<_> = circle(&imports).into_iter().collect();
        assert_eq!(found, expected, "{left} {right}: {imports:?}");
    }
}

#[test]
fn text_tests_and_macros_are_no_imports() {
    for harmless in [
        "// use crate::top::Top;",
        "/// [`crate::top::Top`]",
        "/* crate::top */",
        "const TEXT: &str = \"crate::top\"; const RAW: &str = r#\"crate::\"top\"#;",
        "#[cfg(test)] mod tests { use crate::top::Top; fn test() { crate::top::work() } }",
        "#[cfg(test)] use crate::top::Top;",
        "macro_rules! work { () => { $crate::top::work() } }",
        "mod inner { use super::Bottom; }",
        "use other_crate::top;",
        "use crate::elsewhere::Model;",
    ] {
        let found = made_up(harmless);
        assert!(
            found.iter().all(|import| import.from != "bottom"),
            "{harmless}"
        );
    }
}
