//! `generation`: what an orchestrator counts up to have a node installed again by an otherwise equal request.

use serde_json::Value;

use super::names;
use super::reader::{Diagnostics, JsonCursor};

/// Characters of a generation at most: it is part of the identity stamp, which has a limited place.
const LONGEST: usize = 64;

/// At the top of the document, or in `ks_meta`, where Cobbler puts what is set for a system. A number is taken as its
/// text, null as nothing.
pub(super) fn read(document: &JsonCursor<'_>, diagnostics: &mut Diagnostics) -> Option<String> {
    let top = document.get("generation");
    let below = document.get("ks_meta").and_then(|at| at.get("generation"));
    let read = |at: Option<JsonCursor<'_>>, diagnostics: &mut Diagnostics| one(&at?, diagnostics);
    let (first, second) = (read(top, diagnostics), read(below, diagnostics));
    if let (Some(first), Some(second)) = (&first, &second)
        && first != second
    {
        let what = format!("is `{second}`, and `generation` is `{first}`");
        diagnostics.add("ks_meta.generation", what, "give one of them");
    }
    first.or(second)
}

fn one(at: &JsonCursor<'_>, diagnostics: &mut Diagnostics) -> Option<String> {
    let text = match at.value() {
        Value::Null => return None,
        Value::Number(number) if number.is_u64() => number.to_string(),
        Value::String(text) => text.trim().to_owned(),
        _ => String::new(),
    };
    let fits = !text.is_empty() && text.chars().count() <= LONGEST && !names::has_control(&text);
    if !fits {
        at.wrong(
            "a whole number, or one line of 1 to 64 characters",
            diagnostics,
        );
    }
    fits.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(document: &Value) -> Result<Option<String>, Vec<String>> {
        let mut diagnostics = Diagnostics::default();
        let read = read(&JsonCursor::document(document), &mut diagnostics);
        let problems = diagnostics.problems.iter().map(ToString::to_string);
        if diagnostics.problems.is_empty() {
            Ok(read)
        } else {
            Err(problems.collect())
        }
    }

    #[test]
    fn it_is_a_number_or_a_text_at_the_top_or_in_ks_meta() {
        for (document, generation) in [
            (json!({}), None),
            (json!({"generation": null}), None),
            (json!({"generation": 7}), Some("7")),
            (json!({"generation": " 2026-12 b "}), Some("2026-12 b")),
            (json!({"ks_meta": {"generation": "7"}}), Some("7")),
            (
                json!({"generation": 7, "ks_meta": {"generation": "7"}}),
                Some("7"),
            ),
        ] {
            let expected = generation.map(str::to_owned);
            assert_eq!(of(&document), Ok(expected), "{document}");
        }
    }

    #[test]
    fn anything_else_is_a_problem_with_its_path() {
        for value in [
            json!(""),
            json!("a\nb"),
            json!(-1),
            json!(1.5),
            json!([1]),
            json!(true),
            json!("x".repeat(65)),
        ] {
            let problems = of(&json!({ "generation": value })).unwrap_err();
            assert!(problems[0].starts_with("generation: "), "{problems:?}");
        }
        let two = json!({"generation": 8, "ks_meta": {"generation": "7"}});
        assert_eq!(
            of(&two).unwrap_err(),
            ["ks_meta.generation: is `7`, and `generation` is `8`"]
        );
    }
}
