//! Imports run downwards only, so no two folders import each other.

use std::fs;
use std::path::Path;

/// The folders and files of `src`, from the top: each may import those below it.
const ORDER: [&str; 12] = [
    "tests",
    "lib",
    "spawn",
    "background",
    "entry_point",
    "options",
    "policies",
    "arguments",
    "function",
    "literal",
    "tokens",
    "errors",
];

fn rank(name: &str) -> Option<usize> {
    ORDER.iter().position(|folder| *folder == name)
}

/// Returns the first segments of all `crate::…` paths in the source.
fn imports(source: &str) -> Vec<&str> {
    let mut imports = Vec::new();
    for path in source.split("crate::").skip(1) {
        let list = path.strip_prefix('{').and_then(|list| list.split_once('}'));
        match list {
            Some((list, _)) => imports.extend(list.split(',').map(first_segment)),
            None => imports.push(first_segment(path)),
        }
    }
    imports
}

fn first_segment(path: &str) -> &str {
    let path = path.trim_start();
    let end = path.find(|character: char| !character.is_alphanumeric() && character != '_');
    &path[..end.unwrap_or(path.len())]
}

fn check(path: &Path, folder: &str, upward: &mut Vec<String>) {
    let importing = rank(folder).unwrap_or_else(|| panic!("`{folder}` is not in `ORDER`"));
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("a folder of this crate") {
            check(&entry.expect("an entry").path(), folder, upward);
        }
        return;
    }
    let source = fs::read_to_string(path).expect("a file of this crate");
    // Other names, such as those in messages, are no folders.
    for import in imports(&source) {
        if rank(import).is_some_and(|imported| imported < importing) {
            upward.push(format!("{} imports `{import}`", path.display()));
        }
    }
}

#[test]
fn imports_run_downwards() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut upward = Vec::new();
    for entry in fs::read_dir(root).expect("the source") {
        let path = entry.expect("an entry").path();
        let folder = path.file_stem().and_then(|name| name.to_str());
        check(&path, folder.expect("a name"), &mut upward);
    }
    assert!(upward.is_empty(), "{}", upward.join("\n"));
}
