//! The imports of a crate's sources, as far as they lead from one module of a folder to another. Knows no order of the modules.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// One path in a source file that leads to another module of a folder.
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

/// A folder of modules, with the file that declares them: `lib.rs` at the root, or `mod.rs`.
#[derive(Debug)]
pub(crate) struct Folder {
    path: String,
    head: String,
    /// The name under which items of the head are listed, in place of a module's.
    head_name: &'static str,
}

impl Folder {
    /// Returns every folder with modules, the root first.
    pub(crate) fn all(sources: &Sources) -> Vec<Folder> {
        let root = Folder {
            path: String::new(),
            head: "lib.rs".to_owned(),
            head_name: "lib",
        };
        let heads = sources.keys().filter_map(|file| {
            let path = file.strip_suffix("mod.rs")?;
            path.ends_with('/').then(|| Folder {
                path: path.to_owned(),
                head: file.clone(),
                head_name: "mod",
            })
        });
        [root].into_iter().chain(heads).collect()
    }

    /// Returns the path below the root: empty, or `call/`.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Returns the names of the modules around the code of the folder's files.
    fn around(&self) -> Vec<&str> {
        self.path.split_terminator('/').collect()
    }

    /// Returns the module of this folder that a file belongs to: at the root, `call` for `call/handle.rs` and `error` for `error.rs`.
    fn module_of<'a>(&self, file: &'a str) -> Option<&'a str> {
        let below = file.strip_prefix(&self.path)?;
        let first = below.split('/').next().unwrap_or(below);
        let module = first.strip_suffix(".rs").unwrap_or(first);
        (file != self.head).then_some(module)
    }

    /// Returns the names of the modules of this folder.
    pub(crate) fn modules(&self, sources: &Sources) -> BTreeSet<String> {
        let modules = sources.keys().filter_map(|file| self.module_of(file));
        modules.map(str::to_owned).collect()
    }

    /// Returns every path from one module of this folder to another, or to an item of the head. Code under `#[cfg(test)]` may name
    /// anything. `$crate` in a macro names what the expansion needs, so it counts for no module.
    pub(crate) fn imports(&self, sources: &Sources) -> Vec<Import> {
        let modules = self.modules(sources);
        let head = &sources[&self.head];
        let exports = exports(head, &modules);
        let elsewhere = modules_elsewhere(head);
        let around = self.around();
        let mut imports = Vec::new();
        for (file, source) in sources {
            let Some(from) = self.module_of(file) else {
                continue;
            };
            for path in paths(&tokens(source), &modules_around(file)) {
                let names: Vec<_> = path.names.iter().map(String::as_str).collect();
                let Some([name, ..]) = names.strip_prefix(&*around) else {
                    continue;
                };
                if elsewhere.contains(*name) {
                    continue;
                }
                // A name that is no module is an item of the head, which may come from a module.
                let to = match modules.get(*name) {
                    Some(module) => module.as_str(),
                    None => exports.get(*name).map_or(self.head_name, String::as_str),
                };
                let import = Import {
                    location: format!("{file}:{}", path.line),
                    from: from.to_owned(),
                    to: to.to_owned(),
                };
                if to != from && !imports.contains(&import) {
                    imports.push(import);
                }
            }
        }
        imports
    }
}

/// Returns the modules around the code of a file: `call` for `call/mod.rs`, `call` and `handle` for `call/handle.rs`.
fn modules_around(file: &str) -> Vec<String> {
    let path = file.strip_suffix(".rs").unwrap_or(file);
    let path = path.strip_suffix("/mod").unwrap_or(path);
    path.split('/').map(str::to_owned).collect()
}

/// Returns the modules of a head whose files are in another folder, such as the models.
fn modules_elsewhere(head: &str) -> BTreeSet<String> {
    let mut elsewhere = BTreeSet::new();
    for declaration in head.split("#[path").skip(1) {
        let name = declaration
            .split_once("mod ")
            .and_then(|(_, rest)| rest.split_once(';'));
        elsewhere.extend(name.map(|(name, _)| name.to_owned()));
    }
    elsewhere
}

/// Returns the module that each re-export of a head comes from.
fn exports(head: &str, modules: &BTreeSet<String>) -> BTreeMap<String, String> {
    let tokens = tokens(head);
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

/// A path from the root of the crate, as far as it consists of names.
#[derive(Debug, PartialEq, Eq)]
struct RootPath {
    names: Vec<String>,
    line: usize,
}

/// Returns the paths that start with `crate::` or `super::`, in a file with the modules `around` it.
fn paths(tokens: &[Token], around: &[String]) -> Vec<RootPath> {
    let text = |at: usize| tokens.get(at).map_or("", |token| &*token.text);
    let is_colons = |at: usize| text(at) == ":" && text(at + 1) == ":";
    let mut paths = Vec::new();
    let mut at = 0;
    let mut around = around.to_vec();
    // The depth of blocks at which each inline module ends.
    let (mut blocks, mut inline_modules) = (0, Vec::new());
    while at < tokens.len() {
        match text(at) {
            "{" => blocks += 1,
            "}" => {
                blocks -= 1;
                if inline_modules.last() == Some(&blocks) {
                    inline_modules.pop();
                    around.pop();
                }
            }
            "mod" if text(at + 2) == "{" => {
                inline_modules.push(blocks);
                around.push(text(at + 1).to_owned());
            }
            "crate" if is_colons(at + 1) && (at == 0 || text(at - 1) != "$") => {
                at += 3;
                add_paths(tokens, &mut at, Vec::new(), &mut paths);
                continue;
            }
            "super" if is_colons(at + 1) => {
                let mut base = around.clone();
                while text(at) == "super" && is_colons(at + 1) {
                    base.pop();
                    at += 3;
                }
                add_paths(tokens, &mut at, base, &mut paths);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    paths
}

/// Adds the path at `at`, or all paths if it ends in a group of braces, and moves `at` behind it.
fn add_paths(tokens: &[Token], at: &mut usize, mut names: Vec<String>, into: &mut Vec<RootPath>) {
    let text = |at: usize| tokens.get(at).map_or("", |token| &*token.text);
    loop {
        let Some(token) = tokens.get(*at) else { return };
        *at += 1;
        if token.text == "{" {
            while !["", "}"].contains(&text(*at)) {
                add_paths(tokens, at, names.clone(), into);
                // The rest of the element, such as `as Name`.
                while !["", ",", "}"].contains(&text(*at)) {
                    *at += 1;
                }
                *at += usize::from(text(*at) == ",");
            }
            *at += 1;
            return;
        }
        if token.text != "self" {
            names.push(token.text.clone());
        }
        let continues = text(*at) == ":" && text(*at + 1) == ":" && text(*at + 2) != "<";
        if !continues {
            let line = token.line;
            return into.push(RootPath { names, line });
        }
        *at += 2;
    }
}
