//! Text to one JSON value: JSON or, as upstream accepts it, YAML; with bounds against what was never meant to be read.

use serde_json::Value;

use super::spec::Problem;

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
    let json = match serde_json::from_str(text) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    match parse_yaml(text) {
        Ok(value) => Ok(value),
        // Who wrote a brace meant JSON, and wants to hear what is wrong with that.
        Err(_) if text.trim_start().starts_with(['{', '[']) => Err(problem(
            format!("the document is not JSON: {}", describe_json(&json)),
            "correct it there; `python3 -m json.tool FILE` finds the place too",
        )),
        Err(yaml) => Err(yaml),
    }
}

/// Bytes to text: what is not UTF-8 is a problem that says where.
pub fn utf8(bytes: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
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
    // The library's budgets (nodes, depth, aliases) hold against bombs; like upstream's parser, the last of equal keys wins.
    let options = serde_saphyr::options! {
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::LastWins,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let place = error.location().map_or_else(String::new, |location| {
            format!(" at line {} column {}", location.line(), location.column())
        });
        problem(
            format!("the document is neither JSON nor YAML{place}"),
            "correct it there; one document with plain scalars, lists and string keys is expected",
        )
    })
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
