//! Reading a JSON value piece by piece: every piece has its path, every reader reports what it expected.

use serde_json::Value;

use crate::model::request::Problem;

/// The most findings of a kind that are listed: a bad input could have millions.
const MOST_LISTED: usize = 200;
/// The most items of a list that are read; no node has as many disks, volumes or keys.
const MOST_ITEMS: usize = 1024;

/// A text of the request as it can be shown: in one line, and not all of a long one.
pub(super) fn redacted(text: &str) -> String {
    const MOST: usize = 80;
    let mut shown: String = text
        .chars()
        .take(MOST)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(MOST).is_some() {
        shown.push('…');
    }
    shown
}

/// What was found so far. Readers add to it and go on, so that everything is reported at once.
#[derive(Debug, Default)]
pub(super) struct Diagnostics {
    /// What is wrong: the request is not accepted.
    pub(super) problems: Vec<Problem>,
    /// What upstream would plan, but fail to do with the data already gone: planned, not run.
    pub(super) refusals: Vec<Problem>,
    /// What is unusual but accepted.
    pub(super) warnings: Vec<String>,
    /// How many problems there are, listed or not.
    count: usize,
}

impl Diagnostics {
    /// Adds a problem of the value at `path`.
    pub(super) fn add(
        &mut self,
        path: impl Into<String>,
        what: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.count = self.count.saturating_add(1);
        push(&mut self.problems, path.into(), what.into(), hint.into());
    }

    /// Adds a refusal: it can be planned, and `run` refuses it.
    pub(super) fn refuse(
        &mut self,
        path: impl Into<String>,
        what: impl Into<String>,
        hint: impl Into<String>,
    ) {
        push(&mut self.refusals, path.into(), what.into(), hint.into());
    }

    /// Adds a warning, unless there are too many.
    pub(super) fn warn(&mut self, warning: impl Into<String>) {
        if self.warnings.len() < MOST_LISTED {
            self.warnings.push(warning.into());
        }
    }

    /// Number of problems so far.
    pub(super) const fn len(&self) -> usize {
        self.count
    }
}

fn push(list: &mut Vec<Problem>, path: String, what: String, hint: String) {
    let problem = Problem { path, what, hint };
    if list.len() < MOST_LISTED && !list.contains(&problem) {
        list.push(problem);
    }
}

/// A value of the document and where it stands.
#[derive(Clone, Debug)]
pub(super) struct JsonCursor<'a> {
    value: &'a Value,
    path: String,
}

impl<'a> JsonCursor<'a> {
    /// The document as a whole.
    pub(super) const fn document(value: &'a Value) -> Self {
        Self {
            value,
            path: String::new(),
        }
    }

    /// Its path; `$` for the document as a whole.
    pub(super) fn path(&self) -> &str {
        if self.path.is_empty() {
            "$"
        } else {
            &self.path
        }
    }

    /// The value at this path.
    pub(super) const fn value(&self) -> &'a Value {
        self.value
    }

    /// The path that `key` has, or would have, in here.
    pub(super) fn path_of(&self, key: &str) -> String {
        let plain = key
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
            && key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        match (plain, self.path.is_empty()) {
            (true, true) => key.to_owned(),
            (true, false) => format!("{}.{key}", self.path),
            (false, _) => format!("{}[{}]", self.path, Value::from(key)),
        }
    }

    /// The value of `key`, if this is an object that has it.
    pub(super) fn get(&self, key: &str) -> Option<Self> {
        let value = self.value.get(key)?;
        Some(Self {
            value,
            path: self.path_of(key),
        })
    }

    /// The value of `key`; its absence is a problem, `right` describes the value that belongs there.
    pub(super) fn require(
        &self,
        key: &str,
        right: &str,
        diagnostics: &mut Diagnostics,
    ) -> Option<Self> {
        let found = self.get(key);
        if found.is_none() && self.object(diagnostics) {
            diagnostics.add(self.path_of(key), "is missing", format!("give {right}"));
        }
        found
    }

    /// Whether this is an object; anything else is a problem.
    pub(super) fn object(&self, diagnostics: &mut Diagnostics) -> bool {
        let right = self.value.is_object();
        if !right {
            self.wrong("an object", diagnostics);
        }
        right
    }

    /// Its keys and values in the order of the document; anything but an object is a problem.
    pub(super) fn entries(&self, diagnostics: &mut Diagnostics) -> Vec<(&'a str, Self)> {
        let Some(map) = self.value.as_object() else {
            self.wrong("an object", diagnostics);
            return Vec::new();
        };
        if self.too_many(map.len(), diagnostics) {
            return Vec::new();
        }
        map.iter()
            .map(|(key, value)| {
                let path = self.path_of(key);
                (key.as_str(), Self { value, path })
            })
            .collect()
    }

    /// Its items; anything but an array is a problem.
    pub(super) fn items(&self, diagnostics: &mut Diagnostics) -> Vec<Self> {
        let Some(items) = self.value.as_array() else {
            self.wrong("an array", diagnostics);
            return Vec::new();
        };
        if self.too_many(items.len(), diagnostics) {
            return Vec::new();
        }
        items
            .iter()
            .enumerate()
            .map(|(index, value)| Self {
                value,
                path: format!("{}[{index}]", self.path),
            })
            .collect()
    }

    fn too_many(&self, count: usize, diagnostics: &mut Diagnostics) -> bool {
        let too_many = count > MOST_ITEMS;
        if too_many {
            let what = format!("has {count} items, more than the {MOST_ITEMS} that are looked at");
            diagnostics.add(self.path(), what, "describe one node");
        }
        too_many
    }

    /// Its text; anything but a string is a problem.
    pub(super) fn text(&self, diagnostics: &mut Diagnostics) -> Option<&'a str> {
        let text = self.value.as_str();
        if text.is_none() {
            self.wrong("a string", diagnostics);
        }
        text
    }

    /// Its number; anything but an integer is a problem: also `true`, `200.0` and `"200"`.
    pub(super) fn integer(&self, diagnostics: &mut Diagnostics) -> Option<i64> {
        if let Some(number) = self.value.as_i64() {
            return Some(number);
        }
        if self.value.is_u64() {
            diagnostics.add(
                self.path(),
                "is far too large",
                "give a number of MiB that a disk can have",
            );
        } else {
            self.wrong("an integer", diagnostics);
        }
        None
    }

    /// A string that must be there.
    pub(super) fn required_text(
        &self,
        key: &str,
        right: &str,
        diagnostics: &mut Diagnostics,
    ) -> Option<&'a str> {
        self.require(key, right, diagnostics)?.text(diagnostics)
    }

    /// A string that may be absent, but must not be anything else (`null` neither).
    pub(super) fn optional_text(
        &self,
        key: &str,
        diagnostics: &mut Diagnostics,
    ) -> Option<&'a str> {
        self.get(key)?.text(diagnostics)
    }

    /// Reports that this is not what it should be. Only its kind is printed, never its content: it may be a secret.
    pub(super) fn wrong(&self, right: &str, diagnostics: &mut Diagnostics) {
        diagnostics.add(
            self.path(),
            format!("is {}, not {right}", kind(self.value)),
            format!("give {right}{}", pythonic(self.value)),
        );
    }

    /// Whether Python would take it for true: how upstream reads what its schema does not check.
    pub(super) fn truthy(&self) -> bool {
        match self.value {
            Value::Null => false,
            Value::Bool(set) => *set,
            Value::Number(number) => number.as_f64() != Some(0.0),
            Value::String(text) => !text.is_empty(),
            Value::Array(items) => !items.is_empty(),
            Value::Object(map) => !map.is_empty(),
        }
    }
}

/// What a template may have meant by a value that it wrote as Python has it.
fn pythonic(value: &Value) -> &'static str {
    match value {
        Value::Bool(false) => "; Cobbler's templates write `False` for a value that is not set",
        _ => "",
    }
}

/// What a value is, for people.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a fractional number",
        Value::Number(_) => "an integer",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_read_like_javascript() {
        let value = json!({"a": [{"b c": {"netcfg/x": 1, "0": 2}}]});
        let mut diagnostics = Diagnostics::default();
        let a = JsonCursor::document(&value).get("a").unwrap();
        let item = &a.items(&mut diagnostics)[0];
        let inner = item.get("b c").unwrap();
        let paths: Vec<String> = inner
            .entries(&mut diagnostics)
            .into_iter()
            .map(|(_, at)| at.path().to_owned())
            .collect();
        assert_eq!(paths, [r#"a[0]["b c"]["netcfg/x"]"#, r#"a[0]["b c"]["0"]"#]);
        assert_eq!(JsonCursor::document(&value).path(), "$");
        assert_eq!(diagnostics.len(), 0);
    }

    #[test]
    fn what_is_shown_of_a_text_is_short_and_in_one_line() {
        assert_eq!(redacted("a\nb`"), "a\\nb`");
        assert_eq!(redacted(&"ü".repeat(80)), "ü".repeat(80));
        assert_eq!(redacted(&"ü".repeat(81)), "ü".repeat(80) + "…");
    }

    #[test]
    fn only_so_many_findings_are_listed_and_all_are_counted() {
        let mut diagnostics = Diagnostics::default();
        for index in 0..300 {
            diagnostics.add(format!("a[{index}]"), "is wrong", "put it right");
        }
        assert_eq!(
            (diagnostics.len(), diagnostics.problems.len()),
            (300, MOST_LISTED)
        );
        let items = Value::from(vec![0; MOST_ITEMS + 1]);
        assert!(
            JsonCursor::document(&items)
                .items(&mut diagnostics)
                .is_empty()
        );
        assert_eq!(diagnostics.len(), 301);
    }

    #[test]
    fn only_integers_are_integers() {
        let mut diagnostics = Diagnostics::default();
        for value in [
            json!(true),
            json!(200.0),
            json!("200"),
            json!(null),
            json!(u64::MAX),
        ] {
            assert_eq!(
                JsonCursor::document(&value).integer(&mut diagnostics),
                None,
                "{value}"
            );
        }
        assert_eq!(
            JsonCursor::document(&json!(-5)).integer(&mut diagnostics),
            Some(-5)
        );
        assert_eq!(diagnostics.len(), 5);
    }

    #[test]
    fn a_wrong_value_is_named_by_its_kind_and_never_quoted() {
        let mut diagnostics = Diagnostics::default();
        JsonCursor::document(&json!("secret")).integer(&mut diagnostics);
        let [problem] = &diagnostics.problems[..] else {
            panic!("one problem");
        };
        assert_eq!(problem.what, "is a string, not an integer");
    }
}
