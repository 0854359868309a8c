//! What the images are: looked up read-only, read from a file, or unknown (`--offline`).

use std::collections::BTreeMap;

use host::units::Bytes;
use serde::{Deserialize, Serialize};

use crate::request::spec::Container;

/// What is known of the images of a request, by URL.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sources {
    /// Facts by image URL; a URL that is missing here is unknown.
    #[serde(default)]
    pub images: BTreeMap<String, SourceFacts>,
}

/// What is known of one image. `None` is unknown and prints as that.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceFacts {
    /// Size of what is transferred.
    pub size_bytes: Option<Bytes>,
    /// Size of what is written.
    pub raw_size_bytes: Option<Bytes>,
    /// Hexadecimal md5 of what is written (Fuel's YAML).
    pub raw_md5: Option<String>,
    /// Hexadecimal sha256 of what is written.
    pub raw_sha256: Option<String>,
    /// Container by its first bytes.
    pub container: Option<Container>,
    /// Whether the server answers ranges.
    pub ranges: Option<bool>,
    /// A strong entity tag.
    pub etag: Option<String>,
    /// Operating system by Fuel's YAML, as (name, major, minor).
    pub system: Option<(String, String, String)>,
    /// What went wrong while looking, where that is not fatal for planning (`run` refuses).
    pub problem: Option<String>,
}

impl SourceFacts {
    /// Whether a digest of the written bytes is known.
    pub const fn has_digest(&self) -> bool {
        self.raw_md5.is_some() || self.raw_sha256.is_some()
    }
}
