//! Checks a bill against CycloneDX 1.6: the fields that these bills use, as the format's JSON schema describes them.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Values of `type` of a component.
const TYPES: [&str; 13] = [
    "application",
    "framework",
    "library",
    "container",
    "platform",
    "operating-system",
    "device",
    "device-driver",
    "firmware",
    "file",
    "machine-learning-model",
    "data",
    "cryptographic-asset",
];

/// Fields of a component that are known here.
const COMPONENT: [&str; 10] = [
    "type",
    "bom-ref",
    "name",
    "version",
    "scope",
    "hashes",
    "licenses",
    "purl",
    "components",
    "properties",
];

/// What is wrong with the document, each with its place; nothing where it is right.
pub fn problems(document: &Value) -> Vec<String> {
    let mut check = Check::default();
    check.document(document);
    check.problems
}

#[derive(Default)]
struct Check {
    problems: Vec<String>,
    references: BTreeSet<String>,
}

impl Check {
    fn add(&mut self, at: &str, why: &str) {
        self.problems.push(format!("{at}: {why}"));
    }

    /// The object at a place, which may have these fields and has to have some of them.
    fn object<'v>(
        &mut self,
        value: &'v Value,
        at: &str,
        known: &[&str],
        needed: &[&str],
    ) -> Option<&'v Map<String, Value>> {
        let Some(map) = value.as_object() else {
            self.add(at, "is not an object");
            return None;
        };
        for key in map.keys().filter(|key| !known.contains(&key.as_str())) {
            self.add(at, &format!("has an unknown field `{key}`"));
        }
        for key in needed.iter().filter(|key| !map.contains_key(**key)) {
            self.add(at, &format!("has no `{key}`"));
        }
        Some(map)
    }

    fn list<'v>(&mut self, value: Option<&'v Value>, at: &str) -> &'v [Value] {
        match value {
            None => &[],
            Some(Value::Array(list)) => list,
            Some(_) => {
                self.add(at, "is not a list");
                &[]
            }
        }
    }

    /// A text that is not empty and of which `is_good` holds.
    fn text(&mut self, value: Option<&Value>, at: &str, is_good: impl Fn(&str) -> bool) {
        match value {
            None => {}
            Some(Value::String(text)) if !text.is_empty() && is_good(text) => {}
            Some(other) => self.add(at, &format!("is {other}")),
        }
    }

    fn document(&mut self, value: &Value) {
        let known = [
            "$schema",
            "bomFormat",
            "specVersion",
            "serialNumber",
            "version",
            "metadata",
            "components",
            "dependencies",
        ];
        let Some(map) = self.object(value, "document", &known, &["bomFormat", "specVersion"])
        else {
            return;
        };
        self.text(map.get("bomFormat"), "bomFormat", |text| {
            text == "CycloneDX"
        });
        self.text(map.get("specVersion"), "specVersion", |text| text == "1.6");
        self.text(map.get("serialNumber"), "serialNumber", is_urn);
        if let Some(version) = map.get("version")
            && version.as_u64().is_none_or(|version| version == 0)
        {
            self.add("version", "is not a number above 0");
        }
        if let Some(metadata) = map.get("metadata") {
            let known = ["timestamp", "tools", "component"];
            if let Some(metadata) = self.object(metadata, "metadata", &known, &[]) {
                self.text(metadata.get("timestamp"), "metadata.timestamp", is_time);
                if let Some(tools) = metadata.get("tools") {
                    self.object(tools, "metadata.tools", &["components"], &[]);
                    let tools = self.list(tools.get("components"), "metadata.tools.components");
                    for tool in tools {
                        self.component(tool, "metadata.tools");
                    }
                }
                if let Some(subject) = metadata.get("component") {
                    self.component(subject, "metadata.component");
                }
            }
        }
        self.components(map.get("components"), "components");
        self.dependencies(map.get("dependencies"));
    }

    fn components(&mut self, value: Option<&Value>, at: &str) {
        for (n, component) in self.list(value, at).iter().enumerate() {
            self.component(component, &format!("{at}[{n}]"));
        }
    }

    fn component(&mut self, value: &Value, at: &str) {
        let Some(map) = self.object(value, at, &COMPONENT, &["type", "name"]) else {
            return;
        };
        let place = |field: &str| format!("{at}.{field}");
        self.text(map.get("type"), &place("type"), |text| {
            TYPES.contains(&text)
        });
        self.text(map.get("name"), &place("name"), |_| true);
        self.text(map.get("version"), &place("version"), |_| true);
        self.text(map.get("scope"), &place("scope"), |text| {
            ["required", "optional", "excluded"].contains(&text)
        });
        self.text(map.get("purl"), &place("purl"), |text| {
            text.starts_with("pkg:") && text.contains('@') && !text.contains(' ')
        });
        if let Some(reference) = map.get("bom-ref") {
            self.text(Some(reference), &place("bom-ref"), |_| true);
            let reference = reference.as_str().unwrap_or_default();
            if !self.references.insert(reference.to_owned()) {
                self.add(&place("bom-ref"), &format!("`{reference}` is there twice"));
            }
        }
        for hash in self.list(map.get("hashes"), &place("hashes")) {
            let fields = ["alg", "content"];
            self.object(hash, &place("hashes"), &fields, &fields);
            self.text(hash.get("alg"), &place("hashes.alg"), |text| {
                text == "SHA-256"
            });
            self.text(hash.get("content"), &place("hashes.content"), |text| {
                text.len() == 64 && text.bytes().all(is_hex)
            });
        }
        let licenses = self.list(map.get("licenses"), &place("licenses"));
        if licenses.len() > 1 {
            self.add(&place("licenses"), "has more than one expression");
        }
        for license in licenses {
            self.object(
                license,
                &place("licenses"),
                &["expression"],
                &["expression"],
            );
            self.text(license.get("expression"), &place("licenses"), |text| {
                !text.contains('/')
            });
        }
        for property in self.list(map.get("properties"), &place("properties")) {
            self.object(
                property,
                &place("properties"),
                &["name", "value"],
                &["name"],
            );
        }
        self.components(map.get("components"), &place("components"));
    }

    fn dependencies(&mut self, value: Option<&Value>) {
        let mut seen = BTreeSet::new();
        for dependency in self.list(value, "dependencies") {
            let known = ["ref", "dependsOn"];
            self.object(dependency, "dependencies", &known, &["ref"]);
            let of = dependency
                .get("ref")
                .and_then(Value::as_str)
                .unwrap_or_default();
            if !seen.insert(of) {
                self.add("dependencies", &format!("`{of}` is there twice"));
            }
            let on = self.list(dependency.get("dependsOn"), "dependencies.dependsOn");
            let on = on.iter().map(|on| on.as_str().unwrap_or_default());
            for reference in on.chain([of]) {
                if !self.references.contains(reference) {
                    self.add("dependencies", &format!("`{reference}` is no component"));
                }
            }
        }
    }
}

fn is_hex(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
}

/// Whether the digits and the other characters of a text are where those of a pattern are.
fn fits(text: &str, pattern: &str, is_digit: impl Fn(u8) -> bool) -> bool {
    text.len() == pattern.len()
        && text
            .bytes()
            .zip(pattern.bytes())
            .all(|(own, wanted)| match wanted {
                b'0' => is_digit(own),
                other => own == other,
            })
}

fn is_urn(text: &str) -> bool {
    let digits = text.strip_prefix("urn:uuid:");
    digits.is_some_and(|digits| fits(digits, "00000000-0000-0000-0000-000000000000", is_hex))
}

fn is_time(text: &str) -> bool {
    fits(text, "0000-00-00T00:00:00Z", |byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn good() -> Value {
        json!({
            "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
            "serialNumber": "urn:uuid:00000000-0000-8000-8000-00000000000a",
            "metadata": {"timestamp": "2026-01-01T00:00:00Z"},
            "components": [{
                "type": "library", "name": "a", "bom-ref": "a", "scope": "required",
                "purl": "pkg:cargo/a@1",
                "hashes": [{"alg": "SHA-256", "content": "0".repeat(64)}],
                "licenses": [{"expression": "MIT"}],
            }],
            "dependencies": [{"ref": "a", "dependsOn": []}],
        })
    }

    /// Values that do not fit, their places, and what is said of them.
    const BAD: [(&str, &str, &str); 14] = [
        ("/bomFormat", "\"SPDX\"", "bomFormat: is \"SPDX\""),
        ("/specVersion", "1.6", "specVersion: is 1.6"),
        ("/version", "0", "version: is not a number above 0"),
        (
            "/serialNumber",
            "\"urn:uuid:1\"",
            "serialNumber: is \"urn:uuid:1\"",
        ),
        (
            "/metadata/timestamp",
            "\"now\"",
            "metadata.timestamp: is \"now\"",
        ),
        (
            "/components/0/type",
            "\"thing\"",
            "components[0].type: is \"thing\"",
        ),
        ("/components/0/name", "\"\"", "components[0].name: is \"\""),
        (
            "/components/0/scope",
            "\"part\"",
            "components[0].scope: is \"part\"",
        ),
        (
            "/components/0/purl",
            "\"a@1\"",
            "components[0].purl: is \"a@1\"",
        ),
        (
            "/components/0/hashes/0/content",
            "\"00\"",
            "hashes.content: is \"00\"",
        ),
        (
            "/components/0/licenses/0",
            "{\"id\": \"MIT\"}",
            "unknown field `id`",
        ),
        (
            "/components/0",
            "{\"bom-ref\": \"a\"}",
            "components[0]: has no `type`",
        ),
        (
            "/dependencies/0/ref",
            "\"b\"",
            "dependencies: `b` is no component",
        ),
        ("/components", "{}", "components: is not a list"),
    ];

    #[test]
    fn every_departure_from_the_format_is_named() {
        assert_eq!(problems(&good()), Vec::<String>::new());
        for (pointer, value, why) in BAD {
            let mut bad = good();
            *bad.pointer_mut(pointer).unwrap() = serde_json::from_str(value).unwrap();
            let found = problems(&bad).join("\n");
            assert!(found.contains(why), "{pointer}: {found}");
        }
    }

    #[test]
    fn no_reference_is_there_twice() {
        let part = |name| json!({"type": "file", "name": name, "bom-ref": "a"});
        let twice = json!({
            "bomFormat": "CycloneDX", "specVersion": "1.6", "components": [part("a"), part("b")],
        });
        let found = problems(&twice);
        assert_eq!(found, ["components[1].bom-ref: `a` is there twice"]);
    }
}
