//! meta-data: the identity of the instance, in NoCloud's and OpenStack's formats.

use serde_json::{Map, Value, json};

use crate::yaml::{self, YamlError};
use crate::{Part, Seed};

/// `meta-data` of NoCloud, as YAML.
pub(crate) fn nocloud(seed: &Seed) -> Result<String, YamlError> {
    let mut value = Map::new();
    value.insert("instance-id".to_owned(), json!(seed.instance_id));
    value.insert("local-hostname".to_owned(), json!(seed.fqdn));
    if !seed.public_keys.is_empty() {
        value.insert("public-keys".to_owned(), json!(seed.public_keys));
    }
    yaml::render(&value)
}

/// `meta_data.json` of OpenStack.
pub(crate) fn openstack(seed: &Seed) -> Vec<u8> {
    let keys: Map<String, Value> = seed
        .public_keys
        .iter()
        .enumerate()
        .map(|(n, key)| (format!("key-{n}"), Value::from(key.as_str())))
        .collect();
    pretty(&json!({
        "uuid": seed.instance_id,
        "hostname": seed.fqdn,
        "name": seed.hostname,
        "public_keys": keys,
    }))
}

/// OpenStack's `vendor_data.json`: cloud-init reads its `cloud-init` key.
pub(crate) fn vendor_data(seed: &Seed) -> Vec<u8> {
    match &seed.vendor_data {
        Some(text) => pretty(&json!({"cloud-init": text})),
        None => pretty(&json!({})),
    }
}

/// Pretty-printed JSON with a newline at its end.
pub(crate) fn pretty(value: &Value) -> Vec<u8> {
    format!("{value:#}\n").into_bytes()
}

impl Part {
    /// The text with a newline at its end.
    pub(crate) fn text(&self) -> String {
        let mut text = self.content.clone();
        if !text.ends_with('\n') {
            text.push('\n');
        }
        text
    }
}
