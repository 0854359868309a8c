//! The manual against the sources: what stands between marks in its pages is printed from them, and differs from them
//! at most until the next run of the tests.

#![allow(clippy::panic, clippy::expect_used, reason = "a test program")]

use std::path::Path;

use clap::CommandFactory;
use fuel_agent::cli::Cli;
use fuel_agent::model::error::Kind;
use fuel_agent::model::filesystem::FilesystemType;
use fuel_agent::model::mkfs_options::Value;
use fuel_agent::model::stage::Stage;
use fuel_agent::sequence::completion::NAMES;
use fuel_agent::settings::manual;

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
    wrapped(&format!("{}.", names.join(", ")), "")
}

/// The text in lines of at most 120 columns; all but the first begin with `indent`.
fn wrapped(text: &str, indent: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("a line");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= 120 {
            *line = format!("{line} {word}");
        } else {
            lines.push(format!("{indent}{word}"));
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

/// The options of mkfs that a request may give. The three ext types have one list.
fn mkfs_options() -> String {
    let mut text = String::new();
    for (kind, name) in [
        (FilesystemType::Ext4, "ext2, ext3 and ext4"),
        (FilesystemType::Xfs, "xfs"),
        (FilesystemType::Swap, "swap"),
    ] {
        let options = kind.capabilities().expect("made here").maker.options;
        let described = options.iter().map(|option| {
            let letter = option.letter;
            match option.value {
                Value::None => format!("`-{letter}`"),
                Value::Number => format!("`-{letter} NUMBER`"),
                Value::Names => format!("`-{letter} NAME,…`"),
                Value::Features => format!("`-{letter} [^]FEATURE,…`"),
                Value::Keys(keys) => format!("`-{letter}` with `{}`", keys.join("`, `")),
            }
        });
        let described: Vec<String> = described.collect();
        let item = format!("- {name}: {}.", described.join("; "));
        text += &wrapped(&item, "  ");
    }
    text
}

/// Each page with its parts, by the name in their marks.
fn pages() -> [(&'static str, Vec<(&'static str, String)>); 2] {
    [
        (
            "commands.md",
            vec![
                ("exit statuses", exit_statuses()),
                ("settings", manual::table()),
                ("names", names()),
                ("stages", stages()),
                ("help", help()),
            ],
        ),
        ("input.md", vec![("mkfs options", mkfs_options())]),
    ]
}

/// The page with the text from the sources between its marks.
fn printed(page: &str, parts: &[(&str, String)]) -> String {
    parts.iter().fold(page.to_owned(), |page, (name, content)| {
        let mark = format!("<!-- generated: {name} -->\n");
        let (before, rest) = page.split_once(&mark).expect(name);
        let (_, after) = rest.split_once("<!-- end -->\n").expect(name);
        format!("{before}{mark}{content}<!-- end -->\n{after}")
    })
}

#[test]
fn the_manual_says_what_the_sources_say() {
    for (name, parts) in pages() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../docs")
            .join(name);
        let text = std::fs::read_to_string(&page).expect(name);
        let printed = printed(&text, &parts);
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&page, &printed).expect("writable");
            continue;
        }
        for (line, (is, should)) in text.lines().zip(printed.lines()).enumerate() {
            assert_eq!(is, should, "docs/{name}:{}", line + 1);
        }
        assert_eq!(text.len(), printed.len(), "UPDATE_DOCS=1 prints it anew");
    }
}
