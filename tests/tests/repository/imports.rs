//! The imports of a crate's sources, as far as they lead from one top-level module to another. Knows no order of the modules.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// One path in a source file that leads to another top-level module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Import {
    /// The file and line: `call/handle.rs:12`.
    pub(crate) location: String,
    pub(crate) from: String,
    pub(crate) to: String,
}

/// Source files by their path below the folder, such as `call/handle.rs`.
pub(crate) type Sources = BTreeMap<String, String>;

pub(crate) fn read_sources(folder: &Path) -> Sources {
    fn read(folder: &Path, prefix: &str, into: &mut Sources) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
            if path.is_dir() {
                read(&path, &format!("{name}/"), into);
            } else if name.ends_with(".rs") {
                into.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut sources = Sources::new();
    read(folder, "", &mut sources);
    sources
}

/// Returns the top-level module of a file: `call` for `call/handle.rs`, `error` for `error.rs`.
fn module_of(file: &str) -> &str {
    let first = file.split('/').next().unwrap_or(file);
    first.strip_suffix(".rs").unwrap_or(first)
}

/// Returns the names of the top-level modules, without `lib`.
pub(crate) fn modules(sources: &Sources) -> BTreeSet<String> {
    let modules = sources.keys().map(|file| module_of(file).to_owned());
    modules.filter(|module| module != "lib").collect()
}

/// Returns every path from one top-level module to another. Code under `#[cfg(test)]` may name anything. `$crate` in a macro names
/// what the expansion needs, so it counts for no module.
pub(crate) fn imports(sources: &Sources) -> Vec<Import> {
    let modules = modules(sources);
    let exports = root_exports(&sources["lib.rs"], &modules);
    let elsewhere = modules_elsewhere(&sources["lib.rs"]);
    let mut imports = Vec::new();
    for (file, source) in sources {
        let from = module_of(file);
        if from == "lib" {
            continue;
        }
        for path in paths(&tokens(source), depth_of(file)) {
            if elsewhere.contains(&path.name) {
                continue;
            }
            // A name that is no module is an item of the root, which may come from a module.
            let to = match modules.get(&path.name) {
                Some(module) => module.as_str(),
                None => exports.get(&path.name).map_or("lib", String::as_str),
            };
            if to != from {
                imports.push(Import {
                    location: format!("{file}:{}", path.line),
                    from: from.to_owned(),
                    to: to.to_owned(),
                });
            }
        }
    }
    imports
}

/// Returns how many modules are around the code of a file: one for `error.rs` and `call/mod.rs`, two for `call/handle.rs`.
fn depth_of(file: &str) -> usize {
    let folders = file.matches('/').count();
    folders + usize::from(!file.ends_with("/mod.rs"))
}

/// Returns the modules of the root whose files are in another folder, such as the models.
fn modules_elsewhere(lib: &str) -> BTreeSet<String> {
    let mut elsewhere = BTreeSet::new();
    for declaration in lib.split("#[path").skip(1) {
        let name = declaration
            .split_once("mod ")
            .and_then(|(_, rest)| rest.split_once(';'));
        elsewhere.extend(name.map(|(name, _)| name.to_owned()));
    }
    elsewhere
}

/// Returns the module that each re-export of the root comes from.
fn root_exports(lib: &str, modules: &BTreeSet<String>) -> BTreeMap<String, String> {
    let tokens = tokens(lib);
    let mut exports = BTreeMap::new();
    let mut at = 0;
    while at < tokens.len() {
        at += 1;
        if tokens[at - 1].text != "use" {
            continue;
        }
        let end = tokens[at..].iter().position(|token| token.text == ";");
        let end = at + end.unwrap_or(tokens.len() - at);
        let names: Vec<_> = tokens[at..end].iter().map(|token| &token.text).collect();
        let first = names
            .iter()
            .find(|name| **name != "crate" && **name != "self");
        if let Some(module) = first.filter(|name| modules.contains(**name)) {
            for name in &names {
                exports.insert((*name).clone(), (*module).clone());
            }
        }
        at = end;
    }
    exports
}

#[derive(Debug)]
struct Token {
    text: String,
    line: usize,
}

/// Splits a source into identifiers and single characters, without comments, strings and what is under `#[cfg(test)]`.
fn tokens(source: &str) -> Vec<Token> {
    let characters: Vec<char> = source.chars().collect();
    let (mut at, mut line) = (0, 1);
    let mut tokens = Vec::new();
    let starts = |at: usize, text: &str| {
        let text: Vec<char> = text.chars().collect();
        characters[at..].starts_with(&text)
    };
    while at < characters.len() {
        let character = characters[at];
        let begin = at;
        if starts(at, "//") {
            while at < characters.len() && characters[at] != '\n' {
                at += 1;
            }
        } else if starts(at, "/*") {
            while at < characters.len() && !starts(at, "*/") {
                at += 1;
            }
            at += 2;
        } else if let Some(hashes) = raw_string(&characters[at..]) {
            let end = format!("\"{}", "#".repeat(hashes));
            at += 2 + hashes;
            while at < characters.len() && !starts(at, &end) {
                at += 1;
            }
            at += end.len();
        } else if character == '"' {
            at += 1;
            while at < characters.len() && characters[at] != '"' {
                at += 1 + usize::from(characters[at] == '\\');
            }
            at += 1;
        } else if character == '\'' && is_character_literal(&characters[at..]) {
            at += 2 + usize::from(characters[at + 1] == '\\');
            while at < characters.len() && characters[at] != '\'' {
                at += 1;
            }
            at += 1;
        } else if character.is_alphanumeric() || character == '_' {
            while at < characters.len()
                && (characters[at].is_alphanumeric() || characters[at] == '_')
            {
                at += 1;
            }
            let text = characters[begin..at].iter().collect();
            tokens.push(Token { text, line });
        } else {
            at += 1;
            if !character.is_whitespace() {
                let text = character.to_string();
                tokens.push(Token { text, line });
            }
        }
        let end = at.min(characters.len());
        line += characters[begin..end]
            .iter()
            .filter(|c| **c == '\n')
            .count();
    }
    without_tests(tokens)
}

/// Returns the number of hashes if a raw string starts here.
fn raw_string(characters: &[char]) -> Option<usize> {
    let rest = characters.strip_prefix(&['r'])?;
    let hashes = rest
        .iter()
        .take_while(|character| **character == '#')
        .count();
    (rest.get(hashes) == Some(&'"')).then_some(hashes)
}

/// Distinguishes the literal `'a'` from the lifetime `'a`.
fn is_character_literal(characters: &[char]) -> bool {
    characters.get(1) == Some(&'\\') || characters.get(2) == Some(&'\'')
}

fn without_tests(tokens: Vec<Token>) -> Vec<Token> {
    let mut kept = Vec::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        kept.push(token);
        let ends_with = |text: &[&str]| {
            let start = kept.len().saturating_sub(text.len());
            kept[start..]
                .iter()
                .map(|token| &*token.text)
                .eq(text.iter().copied())
        };
        if ends_with(&["#", "[", "cfg", "(", "test", ")", "]"]) {
            // The next item: up to its semicolon, or to the end of its block.
            let mut depth = 0;
            for token in tokens.by_ref() {
                match &*token.text {
                    "{" => depth += 1,
                    "}" => depth -= 1,
                    _ => {}
                }
                if depth == 0 && ["}", ";"].contains(&&*token.text) {
                    break;
                }
            }
        }
    }
    kept
}

/// The first name of a path below the root of the crate.
#[derive(Debug, PartialEq, Eq)]
struct RootPath {
    name: String,
    line: usize,
}

/// Returns the paths that start at the root: by `crate::`, or by as many `super::` as lead there from a file with `depth` modules
/// around it.
fn paths(tokens: &[Token], depth: usize) -> Vec<RootPath> {
    let text = |at: usize| tokens.get(at).map_or("", |token| &*token.text);
    let is_colons = |at: usize| text(at) == ":" && text(at + 1) == ":";
    let mut paths = Vec::new();
    let mut at = 0;
    // The depth of blocks at which each inline module ends.
    let (mut blocks, mut inline_modules) = (0, Vec::new());
    while at < tokens.len() {
        match text(at) {
            "{" => blocks += 1,
            "}" => {
                blocks -= 1;
                if inline_modules.last() == Some(&blocks) {
                    inline_modules.pop();
                }
            }
            "mod" if text(at + 2) == "{" => inline_modules.push(blocks),
            "crate" if is_colons(at + 1) && (at == 0 || text(at - 1) != "$") => {
                at += 3;
                first_names(tokens, at, &mut paths);
                continue;
            }
            "super" if is_colons(at + 1) => {
                let mut supers = 1;
                at += 3;
                while text(at) == "super" && is_colons(at + 1) {
                    supers += 1;
                    at += 3;
                }
                if supers == depth + inline_modules.len() {
                    first_names(tokens, at, &mut paths);
                }
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    paths
}

/// Adds the name at `at`, or the first names within a group of braces there.
fn first_names(tokens: &[Token], at: usize, into: &mut Vec<RootPath>) {
    let Some(first) = tokens.get(at) else { return };
    let mut add = |token: &Token| {
        into.push(RootPath {
            name: token.text.clone(),
            line: token.line,
        });
    };
    if first.text != "{" {
        return add(first);
    }
    let (mut depth, mut is_first) = (0, false);
    for token in &tokens[at..] {
        match &*token.text {
            "{" => {
                depth += 1;
                is_first = depth == 1;
            }
            "}" if depth == 1 => return,
            "}" => depth -= 1,
            "," => is_first = depth == 1,
            _ if is_first => {
                add(token);
                is_first = false;
            }
            _ => {}
        }
    }
}
