//! The arrows between the rooms, held by reading the sources: what a room may not do, it may not even name, and neither
//! may what it imports.
//!
//! What clippy forbids (`Command::new`, sleeping, printing) it forbids everywhere; this is about which room may import
//! which.

#![allow(clippy::panic, clippy::expect_used, reason = "a test program")]

mod foreign;
mod graph;

use std::collections::BTreeSet;

use graph::{Graph, Module};

/// The rooms, from the bottom up, each with those that it may import. docs/design.md has them in the same order.
const ROOMS: [(&str, &[&str]); 19] = [
    ("tools", &[]),
    ("model", &["tools"]),
    ("wrap", &[]),
    ("pool", &[]),
    ("request", &["model"]),
    ("inventory", &["model", "tools"]),
    ("events", &["model"]),
    ("http", &["model", "pool"]),
    ("source", &["model", "events", "http", "pool"]),
    ("settings", &["model", "wrap", "http", "source"]),
    ("cloud", &["model"]),
    ("plan", &["model", "tools", "wrap", "request", "cloud"]),
    ("stream", &["model", "pool", "events", "http", "source"]),
    (
        "apply",
        &[
            "model",
            "tools",
            "inventory",
            "events",
            "http",
            "source",
            "cloud",
            "plan",
            "stream",
        ],
    ),
    ("report", &["model", "events"]),
    (
        "sequence",
        &[
            "model",
            "tools",
            "request",
            "inventory",
            "events",
            "http",
            "source",
            "settings",
            "plan",
            "apply",
            "report",
        ],
    ),
    ("cli", &["sequence", "settings"]),
    (
        "run",
        &[
            "model",
            "tools",
            "request",
            "inventory",
            "events",
            "http",
            "source",
            "settings",
            "plan",
            "stream",
            "apply",
            "report",
            "sequence",
            "cli",
        ],
    ),
    ("testing", &[]),
];

/// Doors of `host` through which a machine is changed.
const EFFECTS: [&str; 9] = [
    "host::Host",
    "Access::Exclusive",
    "host::ioctl",
    "host::mount",
    "host::power",
    "host::extract",
    "host::move_tree",
    "host::remove_tree",
    "Access::Write",
];

/// What a pure function cannot do.
const IMPURE: [&str; 15] = [
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
    "OpenOptions",
];

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

/// Where a file names one of `words`, in its code or by what it imports.
fn breaches(module: &Module, words: &[&str]) -> Vec<String> {
    let lines = module.lines.iter().chain(&module.paths);
    let found = lines.flat_map(|line| {
        let named = words.iter().filter(|word| names(line, word));
        named.map(|word| format!("{} names `{word}`: {}", module.file, line.trim()))
    });
    found.collect()
}

/// Fails where a file of the room, or one that is reached from there, names one of `words`.
fn neither_names_nor_reaches(graph: &Graph, files: &[&str], words: &[&str]) {
    let reached = graph.reached(files);
    let found: Vec<String> = reached
        .iter()
        .flat_map(|(file, from)| {
            let found = breaches(graph.file(file), words);
            found
                .into_iter()
                .map(move |breach| format!("{breach}, reached from {from}"))
        })
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

fn files<'a>(graph: &'a Graph, room: &'a str) -> Vec<&'a str> {
    graph
        .room(room)
        .map(|module| module.file.as_str())
        .collect()
}

#[test]
fn every_room_imports_only_what_lies_below_it() {
    let graph = Graph::read();
    let known: BTreeSet<&str> = ROOMS.iter().map(|(room, _)| *room).collect();
    // the rigs of tests are not read
    let known: BTreeSet<&str> = known
        .into_iter()
        .filter(|room| *room != "testing")
        .collect();
    assert_eq!(graph.rooms(), known);
    let mut below = BTreeSet::new();
    let mut wrong = Vec::new();
    for (room, allowed) in ROOMS {
        let above: Vec<&&str> = allowed
            .iter()
            .filter(|room| !below.contains(*room))
            .collect();
        assert!(
            above.is_empty(),
            "`{room}` may import {above:?}, which lie above it"
        );
        below.insert(room);
        if room == "testing" {
            continue;
        }
        for (target, file) in graph.arrows(room) {
            if !allowed.contains(&target) {
                wrong.push(format!("`{room}` imports `{target}`, in {file}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_manual_lists_the_rooms_in_their_order() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/design.md");
    let text = std::fs::read_to_string(page).expect("docs/design.md");
    let list = text
        .split("The rooms of `fuel-agent`")
        .nth(1)
        .expect("the list of rooms");
    let list = list.split("\n### ").next().unwrap_or(list);
    let items = list.lines().filter_map(|line| line.strip_prefix("- `"));
    let listed: Vec<&str> = items
        .flat_map(|item| item.split("`: ").next().unwrap_or_default().split(','))
        .map(|room| room.trim().trim_matches('`'))
        .collect();
    let rooms: Vec<&str> = ROOMS.iter().map(|(room, _)| *room).collect();
    assert_eq!(listed, rooms);
}

/// `plan`, `validate` and dry runs: neither these files nor any that they reach can open a device for writing. Devices
/// are opened by `inventory` alone, and for reading.
#[test]
fn a_dry_run_cannot_write() {
    let graph = Graph::read();
    let start = [
        "run/preflight.rs",
        "sequence/preflight.rs",
        "sequence/node_discovery.rs",
    ];
    let reached = graph.reached(&start);
    let strange: Vec<String> = reached
        .iter()
        .filter(|(file, _)| {
            ["apply/", "stream/"]
                .iter()
                .any(|room| file.starts_with(room))
        })
        .map(|(file, from)| format!("{file}, reached from {from}"))
        .collect();
    assert!(strange.is_empty(), "{}", strange.join("\n"));
    neither_names_nor_reaches(&graph, &start, &EFFECTS);
    for (file, _) in reached
        .iter()
        .filter(|(file, _)| !file.starts_with("inventory/"))
    {
        assert_eq!(
            breaches(graph.file(file), &["host::blockdev"]),
            Vec::<String>::new()
        );
    }
}

/// Neither these rooms nor what they import.
#[test]
fn model_request_plan_and_cloud_are_pure() {
    let graph = Graph::read();
    for room in ["model", "request", "plan", "cloud"] {
        let files = files(&graph, room);
        for (file, from) in graph.reached(&files) {
            let found =
                [IMPURE.as_slice(), &EFFECTS].map(|words| breaches(graph.file(file), words));
            assert_eq!(found.concat(), Vec::<String>::new(), "reached from {from}");
        }
    }
}

/// Of all that `host` offers, the ground floor and the plan count in its units and dates, and name the tools that a plan
/// needs.
#[test]
fn model_and_plan_take_units_and_dates_from_host_and_nothing_else() {
    let graph = Graph::read();
    for room in ["model", "plan"] {
        let strange: Vec<String> = graph
            .room(room)
            .flat_map(|module| module.paths.iter().map(move |path| (module, path)))
            .filter(|(_, path)| path.starts_with("host::"))
            // the causes of an error are put into words in one place
            .filter(|(_, path)| {
                let pure = ["host::units", "host::calendar", "host::error"];
                !pure.iter().any(|door| path.starts_with(door))
            })
            .map(|(module, path)| format!("{} imports {path}", module.file))
            .collect();
        assert_eq!(strange, Vec::<String>::new());
    }
}

#[test]
fn apply_takes_a_plan_that_was_approved_and_plans_nothing() {
    let graph = Graph::read();
    for module in graph.room("apply") {
        let planners = module
            .paths
            .iter()
            .filter(|path| path.starts_with("crate::plan"));
        let strange: Vec<&String> = planners
            .filter(|path| {
                !path.starts_with("crate::plan::approve") && !path.ends_with("ApprovedPlan")
            })
            .collect();
        assert_eq!(strange, Vec::<&String>::new(), "{}", module.file);
    }
}

#[test]
fn inventory_reads_and_changes_nothing() {
    let graph = Graph::read();
    let words = [
        "Access::Write",
        "Access::Exclusive",
        "OpenOptions",
        "File::create",
        "fs::write",
    ];
    neither_names_nor_reaches(&graph, &files(&graph, "inventory"), &words);
    for module in graph.room("inventory") {
        assert_eq!(
            breaches(module, &["host::mount", "host::ioctl", "host::Host"]),
            Vec::<String>::new()
        );
    }
}

/// The pool below it only has a waker, for a buffer that comes back while `http` waits.
#[test]
fn only_http_speaks_http() {
    let graph = Graph::read();
    for room in graph
        .rooms()
        .into_iter()
        .filter(|room| !["http", "pool"].contains(room))
    {
        for module in graph.room(room) {
            assert_eq!(
                breaches(module, &["reqwest", "tokio"]),
                Vec::<String>::new()
            );
        }
    }
}

#[test]
fn programs_are_started_by_host_alone() {
    let graph = Graph::read();
    let words = [
        "std::process::Command",
        "Command::new",
        "libc::fork",
        "libc::execve",
    ];
    for room in graph.rooms() {
        for module in graph.room(room) {
            assert_eq!(breaches(module, &words), Vec::<String>::new());
        }
    }
}

#[test]
fn whole_names_are_told_from_parts() {
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
    let mut paths = Vec::new();
    graph::expand("", "std::{fs, io::{self, Read}}", &mut paths);
    assert_eq!(paths, ["std::fs", "std::io::self", "std::io::Read"]);
}

/// The reader itself: an arrow that leads through a re-export is followed to the file that defines the name.
#[test]
fn a_name_is_followed_through_a_re_export() {
    let graph = Graph::read();
    let reached = graph.reached(&["run/preflight.rs"]);
    assert!(
        reached.contains_key("source/probe.rs"),
        "by way of `source::probe_images`"
    );
}
