//! `expires` and `node`: when and where a request holds. In a signed one they keep it from being handed out again later,
//! or to another node.

use std::time::Duration;

use serde_json::Value;

use super::names;
use super::reader::{Diagnostics, JsonCursor};
use crate::model::request::Problem;
use crate::model::time;

/// When and where a request holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validity {
    /// When it has expired, since 1970.
    pub expires: Option<Duration>,
    /// Serial number or system UUID of the only node that it is for.
    pub node: Option<String>,
}

/// Characters of a serial number at most.
const LONGEST: usize = 128;

/// Reads them at the top of the document or in `ks_meta`, like `generation`; nothing else of it.
pub fn validity(document: &Value) -> Result<Validity, Vec<Problem>> {
    let mut diagnostics = Diagnostics::default();
    let document = JsonCursor::document(document);
    let expires = one(&document, "expires", &mut diagnostics, |text| {
        time::parse_rfc3339(text)
    });
    let node = one(&document, "node", &mut diagnostics, |text| {
        let fits = text.chars().count() <= LONGEST && !names::has_control(text);
        (fits && !text.is_empty()).then(|| text.to_owned())
    });
    if diagnostics.problems.is_empty() {
        Ok(Validity { expires, node })
    } else {
        Err(diagnostics.problems)
    }
}

fn one<T: PartialEq>(
    document: &JsonCursor<'_>,
    key: &'static str,
    diagnostics: &mut Diagnostics,
    read: impl Fn(&str) -> Option<T>,
) -> Option<T> {
    let places = [
        document.get(key),
        document.get("ks_meta").and_then(|at| at.get(key)),
    ];
    let mut found: Option<T> = None;
    for at in places.into_iter().flatten() {
        if at.value().is_null() {
            continue;
        }
        let Some(value) = at.value().as_str().and_then(|text| read(text.trim())) else {
            let expected = match key {
                "expires" => "a time like `2026-12-31T23:59:59Z` (RFC 3339)",
                _ => "a serial number or a system UUID, one line of up to 128 characters",
            };
            at.wrong(expected, diagnostics);
            continue;
        };
        if found.as_ref().is_some_and(|found| *found != value) {
            let what = format!("is not the same as `{key}`");
            diagnostics.add(format!("ks_meta.{key}"), what, "give one of them");
        }
        found.get_or_insert(value);
    }
    found
}

/// The document without `expires`: one that was signed anew for a later time asks for nothing else.
pub(super) fn without_expiry(document: &Value) -> Option<Value> {
    let has = |at: Option<&Value>| at.is_some_and(|at| at.get("expires").is_some());
    if !has(Some(document)) && !has(document.get("ks_meta")) {
        return None;
    }
    let mut other = document.clone();
    if let Some(map) = other.as_object_mut() {
        map.remove("expires");
    }
    if let Some(map) = other.get_mut("ks_meta").and_then(Value::as_object_mut) {
        map.remove("expires");
    }
    Some(other)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn time_and_node_are_read_at_the_top_and_in_ks_meta() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let node = |text: &str| Some(text.to_owned());
        for (document, expires, for_node) in [
            (json!({}), None, None),
            (json!({"expires": null, "node": null}), None, None),
            (
                json!({"expires": "1970-01-01T00:01:00Z"}),
                seconds(60),
                None,
            ),
            (
                json!({"ks_meta": {"expires": "1970-01-01T01:01:00+01:00", "node": " S3X9 "}}),
                seconds(60),
                node("S3X9"),
            ),
            (
                json!({"node": "a", "ks_meta": {"node": "a"}}),
                None,
                node("a"),
            ),
        ] {
            let expected = Validity {
                expires,
                node: for_node,
            };
            assert_eq!(validity(&document).unwrap(), expected, "{document}");
        }
    }

    #[test]
    fn what_is_neither_is_a_problem_and_not_ignored() {
        for (document, path) in [
            (json!({"expires": 1_800_000_000}), "expires"),
            (json!({"expires": ""}), "expires"),
            (json!({"expires": "2026-12-31"}), "expires"),
            (json!({"expires": "tomorrow"}), "expires"),
            (json!({"expires": ["2026-12-31T23:59:59Z"]}), "expires"),
            (json!({"node": 7}), "node"),
            (json!({"node": ""}), "node"),
            (json!({"node": {"serial": "S3X9"}}), "node"),
            (json!({"node": "a\nb"}), "node"),
            (json!({"node": "x".repeat(129)}), "node"),
            (json!({"ks_meta": {"node": []}}), "ks_meta.node"),
            (
                json!({"node": "a", "ks_meta": {"node": "b"}}),
                "ks_meta.node",
            ),
            (
                json!({"expires": "2026-12-31T23:59:59Z", "ks_meta": {"expires": "2026-12-30T23:59:59Z"}}),
                "ks_meta.expires",
            ),
        ] {
            let problems = validity(&document).unwrap_err();
            assert_eq!(problems.len(), 1, "{document}");
            assert_eq!(problems[0].path, path, "{document}");
        }
    }
}
