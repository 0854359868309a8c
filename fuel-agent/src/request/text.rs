//! Text to one JSON value: JSON or, as upstream accepts it, YAML; with bounds against what was never meant to be read.

use serde_json::Value;

use crate::model::count::{Count, MOST_VALUES, TOO_MANY};
use crate::model::request::Problem;

/// No `provision.json` is larger; Fuel's largest have some tens of KiB.
pub const MAX_BYTES: usize = 16 << 20;

/// Reads JSON, else YAML. What cannot be read is one problem with line and column, and quotes nothing of the text.
pub fn parse(text: &str) -> Result<Value, Problem> {
    if text.len() > MAX_BYTES {
        return Err(problem(
            format!(
                "the document has {} bytes, more than the {MAX_BYTES} that are read",
                text.len()
            ),
            "send the description of one node",
        ));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() {
        return Err(problem(
            "the document is empty".to_owned(),
            "send the description of one node, as JSON or YAML",
        ));
    }
    if let Some(line) = only_comments(text) {
        return Err(problem(
            format!("the document has only comments; it begins with `{line}`"),
            "look into the server's log for what kept it from writing the request",
        ));
    }
    // Counted before anything is kept of it.
    let json = match serde_json::from_str(text).and_then(|Count(_)| serde_json::from_str(text)) {
        Ok(value) => return Ok(value),
        Err(error) if error.to_string().contains(TOO_MANY) => return Err(too_many()),
        Err(error) => error,
    };
    match parse_yaml(text) {
        // As YAML that would be the text "None".
        Ok(_) if is_none(text, &json) => Err(problem(
            format!(
                "the document is not JSON: line {} column {}: `None` is Python's",
                json.line(),
                json.column()
            ),
            "write `null` or leave the key out; in a template, `{{ value | tojson }}`",
        )),
        Ok(value) => Ok(value),
        // A text that begins with a brace is meant as JSON, so JSON's error is the useful one.
        Err(_) if text.trim_start().starts_with(['{', '[']) => Err(problem(
            format!("the document is not JSON: {}", describe_json(&json)),
            "correct it there; `python3 -m json.tool FILE` finds the place too",
        )),
        Err(yaml) => Err(yaml),
    }
}

/// Why these bytes are no request yet: servers that make requests from templates answer so before there is one.
pub fn is_missing(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    if text.trim().is_empty() {
        return Some("the answer is empty".to_owned());
    }
    let line = only_comments(text)?;
    Some(format!("the answer is only a comment: `{line}`"))
}

/// The first line, where there is nothing but comments: Cobbler reports errors so, with status 200. No more of it than
/// fits a message, and nothing that a terminal would obey.
fn only_comments(text: &str) -> Option<String> {
    let mut lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .peekable();
    let first = *lines.peek()?;
    if !lines.all(|line| line.starts_with('#')) {
        return None;
    }
    let shown = first.chars().filter(|c| !c.is_control()).take(200);
    Some(shown.collect())
}

/// Whether the JSON ends at Python's `None`.
fn is_none(text: &str, error: &serde_json::Error) -> bool {
    let line = text.lines().nth(error.line().saturating_sub(1));
    let rest = line.and_then(|line| line.get(error.column().saturating_sub(1)..));
    rest.is_some_and(|rest| rest.starts_with("None"))
}

/// Bytes to text: what is not UTF-8 is a problem with its place.
pub fn utf8(bytes: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = before.split(|&byte| byte == b'\n').count();
        problem(
            format!(
                "the document is not UTF-8 text: wrong byte at offset {} (line {line})",
                before.len()
            ),
            "send JSON or YAML in UTF-8",
        )
    })
}

fn parse_yaml(text: &str) -> Result<Value, Problem> {
    // The library's budgets (nodes, depth, aliases) hold against bombs; like upstream's parser, the last of equal keys
    // wins.
    let options = serde_saphyr::options! {
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::LastWins,
        with_snippet: false,
    };
    let counted = serde_saphyr::from_str_with_options(text, options.clone());
    let value = counted.and_then(|Count(_)| serde_saphyr::from_str_with_options(text, options));
    value.map_err(|error| {
        let message = error.to_string();
        // The library's own budgets are of the same size.
        if message.contains(TOO_MANY) || message.contains("budget") {
            return too_many();
        }
        let place = error.location().map_or_else(String::new, |location| {
            format!(" at line {} column {}", location.line(), location.column())
        });
        problem(
            format!("the document is neither JSON nor YAML{place}"),
            "correct it there; one document with plain scalars, lists and string keys is expected",
        )
    })
}

fn too_many() -> Problem {
    problem(
        format!("the document holds more than the {MOST_VALUES} values that are read"),
        "send the description of one node, without what is not for it",
    )
}

/// `line 3 column 7: expected …`, without any of the text.
fn describe_json(error: &serde_json::Error) -> String {
    let what = error.to_string();
    let what = what.split(" at line ").next().unwrap_or_default();
    format!("line {} column {}: {what}", error.line(), error.column())
}

fn problem(what: String, hint: &str) -> Problem {
    Problem {
        path: "$".to_owned(),
        what,
        hint: hint.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_and_yaml_give_the_same_value() {
        let value = json!({
            "a": [1, -2, true, null, "x"],
            "mac": "08:00:27:79:da:80",
            "params": "console=ttyS0,9600 console=tty0",
            "deep": {"size": 200.5, "empty": "", "quoted": "\"10.20.0.2\"", "none": "none"},
        });
        let yaml = "a:\n- 1\n- -2\n- true\n- null\n- x\nmac: 08:00:27:79:da:80\nparams: console=ttyS0,9600 console=tty0\n\
                    deep:\n  size: 200.5\n  empty: ''\n  quoted: '\"10.20.0.2\"'\n  none: none\n";
        for text in [
            value.to_string(),
            format!("\u{feff}{value}"),
            yaml.to_owned(),
            format!("---\n{yaml}...\n"),
        ] {
            assert_eq!(parse(&text).as_ref(), Ok(&value), "{text}");
        }
    }

    #[test]
    fn of_equal_keys_the_last_one_wins_as_in_upstreams_parser() {
        assert_eq!(parse(r#"{"a": 1, "a": 2}"#), Ok(json!({"a": 2})));
        assert_eq!(parse("a: 1\na: 2\n"), Ok(json!({"a": 2})));
    }

    #[test]
    fn what_cannot_be_read_is_one_problem_with_its_place() {
        let cases = [
            "",
            " \n\t",
            "{\"a\": 1,\n \"b\": 2",
            "{\"a\": 1,\n \"b\": tru}}",
            "a: [1, 2\nb: 3\n",
            "a: b: c\n",
            "\u{1}\u{2}",
            "--- a\n--- b\n",
            "a: *nowhere\n",
        ];
        let lines = cases.map(|text| {
            let problem = parse(text).unwrap_err();
            format!("{text:?}: {problem}; {}", problem.hint)
        });
        let all = lines.join("\n");
        insta::assert_snapshot!(all, @r#"
        "": $: the document is empty; send the description of one node, as JSON or YAML
        " \n\t": $: the document is empty; send the description of one node, as JSON or YAML
        "{\"a\": 1,\n \"b\": 2": $: the document is not JSON: line 2 column 7: EOF while parsing an object; correct it there; `python3 -m json.tool FILE` finds the place too
        "{\"a\": 1,\n \"b\": tru}}": $: the document is not JSON: line 2 column 10: expected ident; correct it there; `python3 -m json.tool FILE` finds the place too
        "a: [1, 2\nb: 3\n": $: the document is neither JSON nor YAML at line 2 column 2; correct it there; one document with plain scalars, lists and string keys is expected
        "a: b: c\n": $: the document is neither JSON nor YAML at line 1 column 5; correct it there; one document with plain scalars, lists and string keys is expected
        "\u{1}\u{2}": $: the document is neither JSON nor YAML at line 1 column 1; correct it there; one document with plain scalars, lists and string keys is expected
        "--- a\n--- b\n": $: the document is neither JSON nor YAML at line 2 column 5; correct it there; one document with plain scalars, lists and string keys is expected
        "a: *nowhere\n": $: the document is neither JSON nor YAML at line 1 column 4; correct it there; one document with plain scalars, lists and string keys is expected
        "#);
    }

    #[test]
    fn comments_are_shown_by_their_first_line_and_are_no_request_yet() {
        let cobbler = "\n# This file intentionally left blank\n# admin: edit the profile\n\n";
        let problem = parse(cobbler).unwrap_err();
        assert_eq!(
            problem.what,
            "the document has only comments; it begins with `# This file intentionally left blank`"
        );
        assert_eq!(
            is_missing(cobbler.as_bytes()).unwrap(),
            "the answer is only a comment: `# This file intentionally left blank`"
        );
        assert_eq!(is_missing(b" \r\n").unwrap(), "the answer is empty");
        for text in ["{}", "# a comment\na: 1\n", "not a request", "False"] {
            assert_eq!(is_missing(text.as_bytes()), None, "{text}");
        }
        let long = "# \u{1b}[2J".to_owned() + &"x".repeat(1000);
        let problem = parse(&long).unwrap_err();
        assert!(problem.what.len() < 300 && !problem.what.contains('\u{1b}'));
    }

    #[test]
    fn pythons_none_is_named_and_its_booleans_are_read() {
        let problem = parse("{\"a\": 1,\n \"b\": None}").unwrap_err();
        assert_eq!(
            problem.what,
            "the document is not JSON: line 2 column 7: `None` is Python's"
        );
        assert_eq!(
            parse("{\"a\": True, \"b\": False}"),
            Ok(json!({"a": true, "b": false}))
        );
        assert_eq!(parse("a: None\n"), Ok(json!({"a": "None"})));
    }

    #[test]
    fn secrets_are_not_quoted_from_what_cannot_be_read() {
        for text in [
            "{\"password\": \"hunter2\"",
            "password: hunter2: x\n",
            "{\"a\": hunter2}",
            "&hunter2 *hunter2",
        ] {
            if let Err(problem) = parse(text) {
                assert!(!format!("{problem:?}").contains("hunter2"), "{problem:?}");
            }
        }
    }

    #[test]
    fn bombs_are_refused() {
        let deep = "[".repeat(200_000);
        let mut aliases = vec!["a: &a [x, x, x, x, x, x, x, x, x]".to_owned()];
        for c in b'b'..=b'z' {
            let (this, before) = (char::from(c), char::from(c - 1));
            let items = format!("*{before}, ").repeat(9);
            aliases.push(format!("{this}: &{this} [{items}]"));
        }
        let aliases = aliases.join("\n");
        let huge = " ".repeat(MAX_BYTES + 1);
        let nested = "{\"a\":".repeat(100_000) + "1" + &"}".repeat(100_000);
        for text in [deep, aliases, huge, nested, "- ".repeat(100_000)] {
            assert!(parse(&text).is_err(), "{}", &text[..20]);
        }
    }

    #[test]
    fn a_document_of_too_many_values_is_refused_in_a_key_that_nothing_reads_too() {
        let objects = "{},".repeat(MOST_VALUES);
        let json = format!(r#"{{"ignored":[{objects}0]}}"#);
        let yaml = format!("ignored:\n{}", "- {}\n".repeat(MOST_VALUES));
        let anchors: Vec<String> = (0..MOST_VALUES).map(|n| format!("- &a{n} x\n")).collect();
        for text in [json, yaml, anchors.concat()] {
            let problem = parse(&text).unwrap_err();
            assert_eq!(
                problem.what,
                "the document holds more than the 200000 values that are read",
                "{}",
                &text[..20]
            );
        }
        // many bytes in few values are nothing to refuse
        let long = format!(r#"{{"ignored":"{}"}}"#, "x".repeat(8 << 20));
        parse(&long).unwrap();
    }

    #[test]
    fn bytes_that_are_no_text_say_where() {
        let problem = utf8(b"{\n\"a\": \"\xff\"}").unwrap_err();
        assert_eq!(
            problem.what,
            "the document is not UTF-8 text: wrong byte at offset 8 (line 2)"
        );
        assert_eq!(utf8(b"{}"), Ok("{}"));
    }
}
