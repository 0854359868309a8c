//! The sources of the agent as a graph: which file imports which, by reading them.
//!
//! Comments, tests and test rigs do not count. A path is followed to the file of its module; a name that a module only
//! re-exports is followed to the file that defines it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

/// Parts of a file's path that only tests have.
const TESTS: [&str; 7] = [
    "tests",
    "tests.rs",
    "run_stages_tests.rs",
    "testing",
    "properties",
    "qemu.rs",
    "on_loops.rs",
];

/// One file: what it imports, and what it names of other crates.
#[derive(Debug)]
pub(crate) struct Module {
    /// Path below `src`, like `plan/layout.rs`.
    pub(crate) file: String,
    /// Its code, line by line: without comments and tests.
    pub(crate) lines: Vec<String>,
    /// Every path that it names from `crate`, `self`, `super`, a child module or another crate, written out.
    pub(crate) paths: BTreeSet<String>,
    /// Names that it re-exports, each with the whole path.
    exports: BTreeMap<String, String>,
}

/// All files, by the path of their module: `plan::layout`. The library's own root is the empty path.
#[derive(Debug)]
pub(crate) struct Graph(BTreeMap<String, Module>);

impl Graph {
    /// Reads the sources of this crate.
    pub(crate) fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = Vec::new();
        collect(&root, &mut files);
        let modules = files.into_iter().filter_map(|path| {
            let file = path.strip_prefix(&root).ok()?.display().to_string();
            if file.split('/').any(|part| TESTS.contains(&part)) {
                return None;
            }
            let text = std::fs::read_to_string(&path).expect("readable");
            Some((module_of(&file), Module::of(&file, &text)))
        });
        Self(modules.collect())
    }

    /// The files of a room, which is a folder or a single file at the top.
    pub(crate) fn room<'a>(&'a self, room: &'a str) -> impl Iterator<Item = &'a Module> {
        let found = self.0.values().filter(move |module| module.room() == room);
        let mut found = found.peekable();
        assert!(found.peek().is_some(), "there is no room `{room}`");
        found
    }

    /// Every room, but the library's root and the binary's.
    pub(crate) fn rooms(&self) -> BTreeSet<&str> {
        let rooms = self.0.values().map(Module::room);
        rooms
            .filter(|room| !["lib", "main"].contains(room))
            .collect()
    }

    /// The rooms that a room imports, each with one of the files that does.
    pub(crate) fn arrows<'a>(&'a self, room: &'a str) -> BTreeMap<&'a str, &'a str> {
        let mut arrows = BTreeMap::new();
        for module in self.room(room) {
            for target in self.imports(module) {
                if target.room() != room && !["lib", "main"].contains(&target.room()) {
                    arrows.entry(target.room()).or_insert(module.file.as_str());
                }
            }
        }
        arrows
    }

    /// The files that a file imports something of.
    fn imports<'a>(&'a self, module: &'a Module) -> impl Iterator<Item = &'a Module> {
        let paths = module.paths.iter();
        let found = paths.filter_map(|path| self.resolve(path.strip_prefix("crate::")?, 0));
        found.filter(|target| target.file != module.file)
    }

    /// The file that defines what a path names.
    fn resolve(&self, path: &str, depth: u8) -> Option<&Module> {
        let parts: Vec<&str> = path.split("::").collect();
        let (module, rest) = (0..=parts.len()).rev().find_map(|length| {
            let module = self.0.get(&parts[..length].join("::"))?;
            Some((module, &parts[length..]))
        })?;
        let exported = rest.first().and_then(|name| module.exports.get(*name));
        match exported.and_then(|path| path.strip_prefix("crate::")) {
            Some(path) if depth < 8 => self.resolve(path, depth + 1),
            Some(_) | None if module.file == "lib.rs" => None,
            Some(_) | None => Some(module),
        }
    }

    /// Every file that is reached from the files named, each with the file that led to it.
    pub(crate) fn reached<'a>(&'a self, from: &[&'a str]) -> BTreeMap<&'a str, &'a str> {
        let mut reached: BTreeMap<&str, &str> = from.iter().map(|file| (*file, "")).collect();
        let mut next: VecDeque<&str> = from.iter().copied().collect();
        while let Some(file) = next.pop_front() {
            for target in self.imports(self.file(file)) {
                if !reached.contains_key(target.file.as_str()) {
                    reached.insert(&target.file, file);
                    next.push_back(&target.file);
                }
            }
        }
        reached
    }

    /// A file by its path below `src`.
    pub(crate) fn file(&self, file: &str) -> &Module {
        let module = self.0.get(&module_of(file));
        module.unwrap_or_else(|| panic!("there is no file {file}"))
    }
}

impl Module {
    fn of(file: &str, text: &str) -> Self {
        // The tests of a file are its last item.
        let text = text
            .split("#[cfg(test)]\nmod tests {")
            .next()
            .unwrap_or(text);
        let lines: Vec<String> = text
            .lines()
            .map(|line| line.split("//").next().unwrap_or(line).to_owned())
            .collect();
        let code = lines.join(" ");
        let module = module_of(file);
        let children: Vec<&str> = words_after(&code, "mod ").collect();
        let mut paths = BTreeSet::new();
        let mut exports = BTreeMap::new();
        for (tree, is_export) in uses(&code) {
            let mut found = Vec::new();
            expand("", tree, &mut found);
            for path in found {
                let (path, name) = match path.split_once(" as ") {
                    Some((path, name)) => (path.to_owned(), name.trim().to_owned()),
                    None => (
                        path.clone(),
                        path.rsplit("::").next().unwrap_or_default().to_owned(),
                    ),
                };
                let path = absolute(path.trim_end_matches("::self"), &module, file, &children);
                if is_export {
                    exports.insert(name, path.clone());
                }
                paths.insert(path);
            }
        }
        for path in inline(&code) {
            let first = path.split("::").next().unwrap_or_default();
            if ["crate", "self", "super", "host"].contains(&first) || children.contains(&first) {
                paths.insert(absolute(path, &module, file, &children));
            }
        }
        Self {
            file: file.to_owned(),
            lines,
            paths,
            exports,
        }
    }

    /// The room that the file is in.
    pub(crate) fn room(&self) -> &str {
        let first = self.file.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
}

/// `plan/layout.rs` is `plan::layout`, `plan/mod.rs` is `plan`, `lib.rs` is the empty path.
fn module_of(file: &str) -> String {
    let path = file.trim_end_matches(".rs");
    let path = path.strip_suffix("/mod").unwrap_or(path);
    if path == "lib" {
        String::new()
    } else {
        path.replace('/', "::")
    }
}

/// A path as it is seen from the root: `super::x` in `plan::layout` is `crate::plan::x`.
fn absolute(path: &str, module: &str, _file: &str, children: &[&str]) -> String {
    let mut here: Vec<&str> = module.split("::").filter(|part| !part.is_empty()).collect();
    let mut parts = path.split("::").peekable();
    match parts.peek() {
        Some(&"crate") => return path.to_owned(),
        Some(&"self") => {
            parts.next();
        }
        Some(&"super") => {
            while parts.peek() == Some(&"super") {
                parts.next();
                here.pop();
            }
        }
        Some(first) if children.contains(first) => {}
        _ => return path.to_owned(),
    }
    let rest: Vec<&str> = parts.collect();
    format!("crate::{}", [here, rest].concat().join("::"))
}

/// The names behind each `keyword` that end with a semicolon: of `mod x;`, `x`.
fn words_after<'a>(code: &'a str, keyword: &'a str) -> impl Iterator<Item = &'a str> {
    code.match_indices(keyword).filter_map(move |(start, _)| {
        let is_word = !code[..start].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let (name, _) = code[start + keyword.len()..].split_once(';')?;
        let is_name = name.chars().all(|c| c.is_alphanumeric() || c == '_');
        (is_word && is_name).then_some(name)
    })
}

/// The trees of all `use` items, and whether they are re-exports.
fn uses(code: &str) -> Vec<(&str, bool)> {
    let found = code.match_indices("use ").filter_map(|(start, _)| {
        let before = &code[..start];
        let is_word = !before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let end = code[start..].find(';')?;
        let is_export = before.trim_end().ends_with("pub") || before.trim_end().ends_with(')');
        is_word.then(|| (code[start + 4..start + end].trim(), is_export))
    });
    found.collect()
}

/// Every path that a tree of `use` brings in: `a::{b, c::{d}}` is `a::b` and `a::c::d`.
pub(crate) fn expand(prefix: &str, tree: &str, paths: &mut Vec<String>) {
    let group = tree
        .find('{')
        .and_then(|open| Some((&tree[..open], tree[open + 1..].trim().strip_suffix('}')?)));
    let Some((head, inner)) = group else {
        paths.push(format!("{prefix}{}", tree.trim()));
        return;
    };
    let prefix = format!("{prefix}{}", head.trim());
    let (mut depth, mut from) = (0, 0);
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand(&prefix, &inner[from..at], paths);
                from = at + 1;
            }
            _ => {}
        }
    }
    if !inner[from..].trim().is_empty() {
        expand(&prefix, &inner[from..], paths);
    }
}

/// Every path of two parts or more that stands in the code.
fn inline(code: &str) -> impl Iterator<Item = &str> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    code.split(move |c: char| !is_part(c))
        .map(|path| path.trim_matches(':'))
        .filter(|path| path.contains("::"))
}
