//! What the orchestrator asks: `provision.json` in any dialect, to one typed [`Request`].
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)
)]

mod accounts;
mod addresses;
mod admin_interface;
mod dialect;
mod document;
mod generation;
mod images;
mod kernel_line;
mod layout;
mod lints;
mod nailgun;
mod names;
mod node;
mod reader;
mod simple;
mod sudoers;
pub mod system;
mod text;
mod validity;

pub use dialect::Driver;
pub use text::{MAX_BYTES, is_missing, parse, utf8};
pub use validity::{Validity, validity};

use std::fmt::Write as _;
use std::io;

use configdrive::ready::ReadyError;
use host::units::Bytes;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::model::request::{Problem, Request};
use reader::{Diagnostics, JsonCursor};

impl Context {
    /// A file that is larger holds no configdrive that fits its partition: base64 takes a third more than what is in
    /// it.
    pub const LARGEST_WRAPPED: Bytes = Bytes(2 * nailgun::CONFIGDRIVE.0);

    /// Examines the ready-made configdrive, a file of these bytes.
    pub fn look_into(&mut self, configdrive: Vec<u8>) {
        let room = usize::try_from(nailgun::CONFIGDRIVE.0).unwrap_or(usize::MAX);
        match configdrive::ready::unwrap(configdrive, room) {
            Ok(ready) => {
                let size = u64::try_from(ready.bytes.len()).unwrap_or(u64::MAX);
                self.ready_configdrive = Some(Bytes(size));
            }
            Err(fault) => self.ready_fault = Some(fault),
        }
    }
}

/// What a document is read with, beside its text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// Dialect of the document.
    pub driver: Driver,
    /// Size of the ready-made configdrive that is on the node
    /// ([`READY_CONFIGDRIVE`](crate::model::request::READY_CONFIGDRIVE)), if there is one: then an ironic request gets
    /// the partition for it too, as upstream does. That of its filesystem where it is wrapped in gzip or base64.
    pub ready_configdrive: Option<Bytes>,
    /// Why that configdrive cannot be used.
    pub ready_fault: Option<ReadyError>,
}

/// Reads a request. Whatever is wrong with it is reported at once; nothing of a password or key is in the report.
pub fn load(text: &str, driver: Driver) -> Result<Request, Vec<Problem>> {
    let context = Context {
        driver,
        ..Context::default()
    };
    load_with(text, context)
}

/// Like [`load`], knowing more of the node.
pub fn load_with(text: &str, context: Context) -> Result<Request, Vec<Problem>> {
    let value = parse(text).map_err(|problem| vec![problem])?;
    check(&value, context)
}

/// A parsed document to a request.
pub fn check(value: &Value, context: Context) -> Result<Request, Vec<Problem>> {
    let document = JsonCursor::document(value);
    let dialect = dialect::detect(&document, context.driver).map_err(|problem| vec![problem])?;
    let mut diagnostics = Diagnostics::default();
    let request = document::read(&document, dialect, context, &mut diagnostics);
    let generation = generation::read(&document, &mut diagnostics);
    match request {
        Some(request) if diagnostics.problems.is_empty() => Ok(Request {
            digest: digest(value),
            generation,
            name: orchestrators_name(&document),
            warnings: diagnostics.warnings,
            refusals: diagnostics.refusals,
            ..request
        }),
        _ => Err(diagnostics.problems),
    }
}

/// What the orchestrator calls the node. Anything but a text with something in it is no name.
fn orchestrators_name(document: &JsonCursor<'_>) -> Option<String> {
    let names = ["slave_name", "name"].map(|key| document.get(key));
    let names = names.into_iter().flatten();
    let mut texts = names.filter_map(|at| Some(at.value().as_str()?.trim().to_owned()));
    texts.find(|name| !name.is_empty())
}

/// sha256 of the document with sorted keys and without spaces: how it was written and until when it holds do not
/// change it.
pub fn digest(value: &Value) -> String {
    let mut hash = Hashed(Sha256::new());
    let other = validity::without_expiry(value);
    canonical(other.as_ref().unwrap_or(value), &mut hash);
    let mut hexadecimal = String::with_capacity(64);
    for byte in hash.0.finalize() {
        // Writing to a string cannot fail.
        let _ = write!(hexadecimal, "{byte:02x}");
    }
    hexadecimal
}

/// Takes bytes and keeps none.
struct Hashed(Sha256);

impl io::Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes the value as JSON with sorted keys: piece by piece, as a request may be long.
fn canonical(value: &Value, into: &mut Hashed) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(&String, &Value)> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            into.0.update("{");
            for (index, (key, value)) in entries.into_iter().enumerate() {
                into.0.update(if index == 0 { "" } else { "," });
                // Writing to a hash cannot fail.
                let _ = serde_json::to_writer(&mut *into, key);
                into.0.update(":");
                canonical(value, into);
            }
            into.0.update("}");
        }
        Value::Array(items) => {
            into.0.update("[");
            for (index, item) in items.iter().enumerate() {
                into.0.update(if index == 0 { "" } else { "," });
                canonical(item, into);
            }
            into.0.update("]");
        }
        scalar => {
            let _ = serde_json::to_writer(into, scalar);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_digest_is_that_of_the_document_with_sorted_keys_and_no_spaces() {
        let value = json!({"b": [1, {"z": null, "a": "ä\n\""}, [], {}], "a": -2.5, "": true});
        let text = r#"{"":true,"a":-2.5,"b":[1,{"a":"ä\n\"","z":null},[],{}]}"#;
        let hash = Sha256::digest(text.as_bytes());
        let expected: Vec<String> = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest(&value), expected.concat());
        // until when it holds is no part of what is asked for
        let mut later = json!({"ks_meta": {"a": 1}, "expires": "2026-12-31T23:59:59Z"});
        let plain = json!({"ks_meta": {"a": 1}});
        assert_eq!(digest(&later), digest(&plain));
        later["ks_meta"]["expires"] = json!("2027-12-31T23:59:59Z");
        assert_eq!(digest(&later), digest(&plain));
        later["node"] = json!("S3X9");
        assert_ne!(digest(&later), digest(&plain));
    }
}
