//! docs/commands.md says what the sources say: its tables are printed from them, and differ from them at most until the
//! next
//! run of the tests.

#![allow(clippy::panic, clippy::expect_used, reason = "a test program")]

use std::path::{Path, PathBuf};

use clap::CommandFactory;
use fuel_agent::cli::Cli;
use fuel_agent::model::error::Kind;
use fuel_agent::model::stage::Stage;
use fuel_agent::sequence::completion::NAMES;
use fuel_agent::settings::keys;

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/commands.md")
}

fn exit_statuses() -> String {
    let rows = Kind::ALL.iter().map(|kind| {
        let (status, meaning) = (kind.exit_status(), kind.meaning());
        format!("| {status} | {meaning} |\n")
    });
    let done = "| status | meaning |\n|---|---|\n| 0 | done, or nothing to do |\n".to_owned();
    rows.fold(done, |text, row| text + &row)
}

fn names() -> String {
    let head = "| name | what it stands for |\n|---|---|\n".to_owned();
    NAMES.iter().fold(head, |text, (name, meaning)| {
        text + &format!("| `{{{name}}}` | {meaning} |\n")
    })
}

fn stages() -> String {
    let names: Vec<String> = Stage::ALL
        .iter()
        .map(|stage| {
            let mark = if stage.always() { "**" } else { "" };
            format!("{mark}{stage}{mark}")
        })
        .collect();
    let mut lines = vec![String::new()];
    for word in format!("{}.", names.join(", ")).split(' ') {
        let line = lines.last_mut().expect("a line");
        if line.is_empty() {
            line.push_str(word);
        } else if line.len() + 1 + word.len() <= 120 {
            *line = format!("{line} {word}");
        } else {
            lines.push(word.to_owned());
        }
    }
    lines.join("\n") + "\n"
}

fn help() -> String {
    let mut command = Cli::command();
    command.build();
    let mut text = format!("```text\n{}```\n", command.render_long_help());
    for sub in command.get_subcommands_mut() {
        let name = sub.get_name().to_owned();
        if name != "help" {
            let help = sub.render_help().to_string();
            text = text + "\n### `provision " + &name + "`\n\n```text\n" + &help + "```\n";
        }
    }
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n") + "\n"
}

/// The page with what the sources say between its marks.
fn printed(page: &str) -> String {
    let parts: [(&str, String); 5] = [
        ("exit statuses", exit_statuses()),
        ("settings", keys::manual()),
        ("names", names()),
        ("stages", stages()),
        ("help", help()),
    ];
    parts.iter().fold(page.to_owned(), |page, (name, content)| {
        let mark = format!("<!-- generated: {name} -->\n");
        let (before, rest) = page.split_once(&mark).expect(name);
        let (_, after) = rest.split_once("<!-- end -->\n").expect(name);
        format!("{before}{mark}{content}<!-- end -->\n{after}")
    })
}

#[test]
fn the_manual_says_what_the_sources_say() {
    let page = page();
    let text = std::fs::read_to_string(&page).expect("docs/commands.md");
    let printed = printed(&text);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&page, &printed).expect("writable");
        return;
    }
    for (line, (is, should)) in text.lines().zip(printed.lines()).enumerate() {
        assert_eq!(is, should, "docs/commands.md:{}", line + 1);
    }
    assert_eq!(text.len(), printed.len(), "UPDATE_DOCS=1 prints it anew");
}
