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
                ("settings", manual::list()),
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

/// The page of claims about security; each names the tests that hold it.
const SECURITY: &str = "docs/security.md";

fn of_tree(path: &str) -> std::io::Result<String> {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path))
}

/// The text of that section, to the next heading of the same level.
fn section<'a>(page: &'a str, title: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("\n## {title}\n")).expect(title);
    rest.split_once("\n## ").map_or(rest, |(text, _)| text)
}

/// The numbers in brackets, like `[7]`, in their order.
fn numbers(text: &str) -> Vec<usize> {
    let after_bracket = text.split('[').skip(1);
    after_bracket
        .filter_map(|rest| rest.split_once(']')?.0.parse().ok())
        .collect()
}

/// What stands between backticks.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Whether that is a test of the source, not another function or what once was one.
fn has_test(source: &str, name: &str) -> bool {
    let start = format!("fn {name}(");
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let position = lines.iter().position(|line| line.starts_with(&start));
    position.is_some_and(|at| {
        let above = lines[..at].iter().rev();
        let mut attributes =
            above.take_while(|line| line.starts_with("#[") || line.starts_with("//"));
        attributes.any(|line| *line == "#[test]")
    })
}

#[test]
fn every_test_that_the_page_about_security_names_exists() {
    let page = of_tree(SECURITY).expect(SECURITY);
    let (claims, tests) = page.split_once("\n## Tests\n").expect("a list of tests");
    let (_, tests) = tests.split_once("\n- ").expect("a list of tests");
    let mut source = None;
    let mut missing = Vec::new();
    let mut named = 0;
    for word in code(tests) {
        if Path::new(word).extension().is_some_and(|it| it == "rs") {
            source = Some((word, of_tree(word).expect(word)));
            continue;
        }
        named += 1;
        let (file, text) = source.as_ref().expect("a file before its tests");
        if !has_test(text, word) {
            missing.push(format!("{file}: {word}"));
        }
    }
    assert_eq!(missing, [""; 0], "tests that {SECURITY} names");
    let listed: Vec<usize> = (1..=named).collect();
    assert_eq!(numbers(tests), listed, "each test has its number");
    let mut used = numbers(claims);
    used.sort_unstable();
    used.dedup();
    assert_eq!(
        used, listed,
        "each number is a test, and each test holds a claim"
    );
}

#[test]
fn every_row_about_an_attack_names_its_test_and_settings_that_exist() {
    let page = of_tree(SECURITY).expect(SECURITY);
    let rows = section(&page, "Attack, setting, outcome").lines();
    let rows: Vec<&str> = rows.filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(rows.len() > 10, "{rows:?}");
    let settings = manual::list();
    // the ramdisk's own parameters and the builders' options are not settings of the agent
    let is_elsewhere = |name: &str| name.starts_with("--") || name.starts_with("provision.");
    let exists = |name: &str| {
        let start = format!("- `{name}=");
        settings.lines().any(|line| line.starts_with(&start))
    };
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, _, setting, outcome, _] = cells.as_slice() else {
            panic!("three cells: {row}");
        };
        assert!(
            outcome.starts_with("open") || !numbers(outcome).is_empty(),
            "{row}"
        );
        for name in code(setting).map(|word| word.split_once('=').map_or(word, |(name, _)| name)) {
            assert!(is_elsewhere(name) || exists(name), "`{name}` in {row}");
        }
    }
    for line in section(&page, "Strict").lines() {
        if let Some((name, _)) = line
            .strip_prefix("    ")
            .and_then(|line| line.split_once('='))
        {
            assert!(exists(name), "{line}");
        }
    }
}

#[test]
fn a_function_that_is_no_test_and_a_test_of_another_name_are_not_taken_for_one() {
    let source = "/// Words.\n#[test]\n#[ignore = \"slow\"]\nfn a() {\n}\n\nfn b() {\n}\n#[test]\nfn ab() {\n}\n";
    assert!(has_test(source, "a") && has_test(source, "ab"));
    assert!(!has_test(source, "b") && !has_test(source, "c"));
}
