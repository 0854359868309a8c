//! The arrows between the rooms, held by reading the sources: what a room may not do, it may not even name.
//!
//! Comments and the tests at the end of a file do not count. What clippy forbids (`Command::new`, sleeping) it forbids
//! everywhere; this is about who may know whom.

#![allow(clippy::panic, clippy::expect_used, reason = "a test program")]

use std::path::{Path, PathBuf};

/// What only those may name who change the machine.
const EFFECTS: [&str; 12] = [
    "host::exec::Exec",
    "host::exec::System",
    "host::exec::Cmd",
    "host::blockdev",
    "host::ioctl",
    "host::mount",
    "host::Host",
    "host::power",
    "host::lock",
    "Access::Write",
    "Command",
    "OpenOptions",
];

/// What a pure function cannot do.
const IMPURE: [&str; 14] = [
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "std::net::TcpStream",
    "std::net::UdpSocket",
    "File::",
    "SystemTime",
    "Instant",
    "new_v4",
    "tracing",
    "libc::",
    "nix::",
    "host::wait",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    if path.is_file() {
        files.push(path.to_owned());
        return;
    }
    for entry in std::fs::read_dir(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())) {
        let path = entry.expect("an entry").path();
        if path.is_dir() || path.extension().is_some_and(|extension| extension == "rs") {
            collect(&path, files);
        }
    }
}

/// The code of a room, line by line: without comments, and without what is only for tests.
fn code(room: &str) -> Vec<(String, usize, String)> {
    let mut files = Vec::new();
    collect(&root().join(room), &mut files);
    files.sort();
    assert!(!files.is_empty(), "no sources in {room}");
    let mut lines = Vec::new();
    for file in files {
        let name = file
            .strip_prefix(root())
            .expect("below src")
            .display()
            .to_string();
        let parts = ["tests", "tests.rs", "sample.rs", "properties"];
        if name.split('/').any(|part| parts.contains(&part)) {
            continue;
        }
        let text = std::fs::read_to_string(&file).expect("readable");
        // The tests of a file are its last item.
        let text = text
            .split("#[cfg(test)]\nmod tests {")
            .next()
            .unwrap_or(&text);
        for (index, line) in text.lines().enumerate() {
            let line = line.split("//").next().unwrap_or(line);
            lines.push((name.clone(), index + 1, line.to_owned()));
        }
        for path in imports(text) {
            lines.push((name.clone(), 0, path));
        }
    }
    lines
}

/// Every path that `use` brings in, written out: `use a::{b, c::{d}};` is `a::b` and `a::c::d`.
fn imports(text: &str) -> Vec<String> {
    let plain: String = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or(line))
        .collect::<Vec<_>>()
        .join(" ");
    let mut paths = Vec::new();
    for (start, _) in plain.match_indices("use ") {
        let is_word = !plain[..start].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        if let (true, Some(end)) = (is_word, plain[start..].find(';')) {
            expand("", plain[start + 4..start + end].trim(), &mut paths);
        }
    }
    paths
}

fn expand(prefix: &str, tree: &str, paths: &mut Vec<String>) {
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

/// Whether `line` names `word` as a whole path, not as a part of a longer name.
fn names(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let after = line[start + word.len()..].chars().next();
        let open_end = word.ends_with("::");
        !before.is_some_and(is_part) && (open_end || !after.is_some_and(is_part))
    })
}

fn breaches(room: &str, words: &[&str]) -> Vec<String> {
    code(room)
        .into_iter()
        .flat_map(|(file, number, line)| {
            words
                .iter()
                .filter(|word| names(&line, word))
                .map(|word| format!("{file}:{number} names `{word}`"))
                .collect::<Vec<_>>()
        })
        .collect()
}

fn must_not_name(room: &str, words: &[&str]) {
    let found = breaches(room, words);
    assert!(
        found.is_empty(),
        "`{room}` oversteps:\n{}",
        found.join("\n")
    );
}

/// `plan`, `validate` and dry runs: these files, and the rooms that they reach, hold nothing that could write.
#[test]
fn who_only_looks_can_name_nothing_that_writes() {
    for room in [
        "run/preflight.rs",
        "sequence/preflight.rs",
        "sequence/discovery.rs",
        "sequence/node_discovery.rs",
    ] {
        must_not_name(room, &EFFECTS);
        must_not_name(
            room,
            &[
                "HostExecutor",
                "host_executor",
                "Executor",
                "executor",
                "perform",
                "apply::Context",
                "install::",
            ],
        );
    }
}

#[test]
fn the_model_is_data_counts_in_units_and_names_tools() {
    must_not_name("model", &IMPURE);
    must_not_name("model", &EFFECTS);
    // `host::error` only puts the causes of an error into words; the table of filesystem types names the tools that make them.
    let allowed = |line: &str| {
        ["host::units", "host::error", "crate::model", "crate::tools"]
            .iter()
            .fold(line.to_owned(), |line, name| line.replace(name, ""))
    };
    let strange: Vec<String> = code("model")
        .into_iter()
        .filter(|(_, _, line)| {
            let line = allowed(line);
            ["host", "crate"]
                .iter()
                .any(|root| names(&line, &format!("{root}::")))
                || names(&line, "super::super")
        })
        .map(|(file, number, line)| format!("{file}:{number} {line}"))
        .collect();
    assert_eq!(strange, Vec::<String>::new());
}

#[test]
fn plan_touches_nothing() {
    must_not_name("plan", &IMPURE);
    must_not_name("plan", &EFFECTS);
    // Of all that `host` offers, a plan may count in its units.
    let allowed = |line: &str| line.replace("host::units", "");
    let strange: Vec<String> = code("plan")
        .into_iter()
        .filter(|(_, _, line)| names(&allowed(line), "host::"))
        .map(|(file, number, line)| format!("{file}:{number} {line}"))
        .collect();
    assert_eq!(strange, Vec::<String>::new());
}

#[test]
fn plan_knows_only_request_and_inventory() {
    must_not_name(
        "plan",
        &[
            "crate::apply",
            "crate::sequence",
            "crate::http",
            "crate::stream",
            "crate::events",
            "crate::run",
            "crate::cli",
            "crate::settings",
            "crate::report",
        ],
    );
}

#[test]
fn request_is_a_function_of_its_text() {
    must_not_name("request", &IMPURE);
    must_not_name("request", &EFFECTS);
    must_not_name(
        "request",
        &[
            "crate::plan",
            "crate::apply",
            "crate::sequence",
            "crate::http",
            "crate::stream",
            "crate::events",
            "crate::inventory",
            "crate::run",
            "crate::cli",
        ],
    );
}

#[test]
fn inventory_looks_but_changes_nothing_and_knows_no_plan() {
    must_not_name(
        "inventory",
        &[
            "Access::Write",
            "Access::Exclusive",
            "OpenOptions",
            "File::create",
            "fs::write",
            "host::mount",
            "host::ioctl",
            "host::Host",
            "Command",
        ],
    );
    must_not_name(
        "inventory",
        &[
            "crate::plan",
            "crate::apply",
            "crate::sequence",
            "crate::http",
            "crate::stream",
            "crate::run",
            "crate::cli",
        ],
    );
}

#[test]
fn stream_knows_bytes_and_no_plan() {
    must_not_name(
        "stream",
        &[
            "crate::plan",
            "crate::request::nailgun",
            "crate::inventory",
            "crate::apply",
            "crate::sequence",
            "host::exec",
            "host::mount",
            "host::ioctl",
            "reqwest",
            "tokio",
        ],
    );
}

#[test]
fn apply_does_not_know_who_calls_it() {
    must_not_name(
        "apply",
        &[
            "crate::sequence",
            "crate::run",
            "crate::cli",
            "crate::settings",
            "crate::inventory::select",
            "Command",
            "reqwest",
            "tokio",
        ],
    );
}

#[test]
fn only_http_speaks_http() {
    for room in [
        "apply",
        "events",
        "inventory",
        "plan",
        "request",
        "sequence",
        "stream",
    ] {
        must_not_name(room, &["reqwest", "tokio"]);
    }
    must_not_name(
        "http",
        &[
            "crate::plan",
            "crate::apply",
            "crate::sequence",
            "crate::inventory",
        ],
    );
}

#[test]
fn nobody_in_the_agent_starts_programs_by_himself() {
    for room in [
        "apply",
        "events",
        "http",
        "inventory",
        "plan",
        "request",
        "sequence",
        "stream",
    ] {
        must_not_name(
            room,
            &[
                "std::process::Command",
                "Command::new",
                "libc::fork",
                "libc::execve",
            ],
        );
    }
}

#[test]
fn the_reader_of_names_tells_whole_names_from_parts() {
    for (line, word, named) in [
        ("use std::fs;", "std::fs", true),
        ("use std::fs::read;", "std::fs", true),
        ("use std::fsx;", "std::fs", false),
        ("let recommand = 1;", "Command", false),
        ("Command::new(x)", "Command", true),
        ("SubCommand", "Command", false),
        ("File::open(x)", "File::", true),
        ("ProFile::open(x)", "File::", false),
        ("crate::planner", "crate::plan", false),
    ] {
        assert_eq!(names(line, word), named, "{line} {word}");
    }
}

#[test]
fn grouped_imports_are_written_out() {
    let text = "use std::{fs, io::{self, Read}};\npub use host::exec::Program;\n// use std::env;\nfn because() {}";
    assert_eq!(
        imports(text),
        [
            "std::fs",
            "std::io::self",
            "std::io::Read",
            "host::exec::Program"
        ]
    );
}
