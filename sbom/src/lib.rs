//! Bills of materials (SBOM): which software an agent, a ramdisk or an image is made of, as CycloneDX 1.6 in JSON.
//!
//! The text depends on its subject only: no clock and no chance. So an artefact that is reproducible has a reproducible
//! bill. The format is <https://cyclonedx.org/docs/1.6/json/>; [`shape::problems`] checks what is written here against
//! what it demands.

pub mod agent;
pub mod purl;
pub mod shape;

use std::collections::{BTreeMap, BTreeSet};

use host::calendar::DateTime;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// Kind of a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A program.
    Application,
    /// A library or a package.
    Library,
    /// A system: a ramdisk, an image.
    OperatingSystem,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Application => "application",
            Self::Library => "library",
            Self::OperatingSystem => "operating-system",
        }
    }
}

/// A piece of software.
#[derive(Clone, Debug)]
pub struct Component {
    /// `type` of CycloneDX: application, library or operating system.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its package URL, see [`purl`].
    pub purl: Option<String>,
    /// sha256 of its file or package, in hexadecimal.
    pub sha256: Option<String>,
    /// Its licence, as an SPDX expression.
    pub license: Option<String>,
    /// Whether it is used to build the subject, but is not part of it.
    pub build_only: bool,
    /// Names and values that the format has no field for.
    pub properties: Vec<(String, String)>,
    /// Its own components, as another bill has them.
    pub components: Vec<Value>,
}

impl Component {
    /// A component of which no more than this is known.
    pub fn new(kind: Kind, name: &str, version: &str) -> Self {
        Self {
            kind,
            name: name.to_owned(),
            version: version.to_owned(),
            purl: None,
            sha256: None,
            license: None,
            build_only: false,
            properties: Vec::new(),
            components: Vec::new(),
        }
    }

    /// A package of Debian; `sha256` is that of the package file.
    pub fn debian(
        name: &str,
        version: &str,
        architecture: &str,
        suite: &str,
        sha256: &str,
    ) -> Self {
        Self {
            purl: Some(purl::debian(name, version, architecture, suite)),
            sha256: Some(sha256.to_owned()),
            ..Self::new(Kind::Library, name, version)
        }
    }

    /// Its name in the bill, which no other component has.
    pub fn reference(&self) -> String {
        let named = || format!("{}@{}", self.name, self.version);
        self.purl.clone().unwrap_or_else(named)
    }

    fn json(&self) -> Value {
        let mut map = Map::new();
        map.insert("type".into(), self.kind.name().into());
        map.insert("bom-ref".into(), self.reference().into());
        map.insert("name".into(), self.name.clone().into());
        map.insert("version".into(), self.version.clone().into());
        if self.build_only {
            map.insert("scope".into(), "excluded".into());
        }
        if let Some(sha256) = &self.sha256 {
            let hash = json!([{"alg": "SHA-256", "content": sha256}]);
            map.insert("hashes".into(), hash);
        }
        if let Some(license) = &self.license {
            map.insert("licenses".into(), json!([{"expression": license}]));
        }
        if let Some(purl) = &self.purl {
            map.insert("purl".into(), purl.clone().into());
        }
        if !self.components.is_empty() {
            map.insert("components".into(), self.components.clone().into());
        }
        if !self.properties.is_empty() {
            let properties = self.properties.iter();
            let properties = properties.map(|(name, value)| json!({"name": name, "value": value}));
            map.insert("properties".into(), properties.collect());
        }
        Value::Object(map)
    }
}

/// The bill of materials of one subject.
#[derive(Clone, Debug)]
pub struct Bom {
    /// What it is about.
    pub subject: Component,
    /// What that is made of, in any order.
    pub components: Vec<Component>,
    /// References of components, and of those that each needs directly.
    pub dependencies: BTreeMap<String, BTreeSet<String>>,
    /// Time of the subject, in seconds since 1970.
    pub time: Option<u32>,
}

impl Bom {
    /// The text of the bill, with a newline at its end.
    pub fn render(&self) -> String {
        let mut components: Vec<_> = self.components.iter().collect();
        components.sort_by_key(|component| component.reference());
        let components: Vec<Value> = components.into_iter().map(Component::json).collect();
        let dependencies: Vec<Value> = self
            .dependencies
            .iter()
            .map(|(of, on)| json!({"ref": of, "dependsOn": on}))
            .collect();
        let mut metadata = Map::new();
        if let Some(time) = self.time {
            metadata.insert(
                "timestamp".into(),
                format!("{}Z", DateTime::since_1970(time.into())).into(),
            );
        }
        let tool = json!({
            "type": "application", "name": "sbom", "version": env!("CARGO_PKG_VERSION"),
        });
        metadata.insert("tools".into(), json!({"components": [tool]}));
        metadata.insert("component".into(), self.subject.json());
        let content = json!({
            "metadata": metadata, "components": components, "dependencies": dependencies,
        });
        let mut document = json!({
            "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "serialNumber": serial_number(&content.to_string()),
            "version": 1,
        });
        if let (Value::Object(document), Value::Object(content)) = (&mut document, content) {
            document.extend(content);
        }
        format!("{document:#}\n")
    }
}

/// A serial number that depends on the content: a UUID of version 8 (RFC 9562), made by a rule of its own.
fn serial_number(content: &str) -> String {
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(Sha256::digest(content)) {
        *to = from;
    }
    uuid::Builder::from_custom_bytes(bytes)
        .into_uuid()
        .urn()
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bom() -> Bom {
        let package =
            |name: &str| Component::debian(name, "1:2+b1", "amd64", "bookworm", &"0a".repeat(32));
        let subject = Component {
            properties: vec![("provision:suite".to_owned(), "bookworm".to_owned())],
            ..Component::new(Kind::OperatingSystem, "ramdisk", "6.1")
        };
        let agent = Component {
            license: Some("MIT OR Apache-2.0".to_owned()),
            build_only: true,
            ..Component::new(Kind::Application, "provision", "0.1.0")
        };
        let needs = BTreeSet::from([package("a").reference(), agent.reference()]);
        Bom {
            dependencies: BTreeMap::from([(subject.reference(), needs)]),
            subject,
            components: vec![package("b"), package("a"), agent],
            time: Some(1_700_000_000),
        }
    }

    #[test]
    fn what_is_written_has_the_shape_that_the_format_demands() {
        let text = bom().render();
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(shape::problems(&value), Vec::<String>::new());
        assert_eq!(value["metadata"]["timestamp"], "2023-11-14T22:13:20Z");
        let names: Vec<_> = value["components"]
            .as_array()
            .unwrap()
            .iter()
            .map(|component| component["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["a", "b", "provision"]);
    }

    #[test]
    fn the_text_depends_on_the_content_alone() {
        let mut other = bom();
        other.components.reverse();
        assert_eq!(other.render(), bom().render());
        other.components.pop();
        let number = |bom: &Bom| {
            let value: Value = serde_json::from_str(&bom.render()).unwrap();
            value["serialNumber"].clone()
        };
        assert_ne!(number(&other), number(&bom()));
    }
}
