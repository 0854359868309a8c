//! What is known of the images: looked up read-only, read from a file, or unknown (`--offline`).

use std::collections::BTreeMap;

use host::units::Bytes;
use serde::{Deserialize, Serialize};

use super::request::Container;

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
    /// What its manifest says, where it is a packed image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packed: Option<PackedFacts>,
    /// Why no digest is known, where that is so.
    pub no_digest: Option<String>,
    /// What went wrong while looking, where that is not fatal for planning (`run` refuses).
    pub problem: Option<String>,
}

/// What the manifest of a packed image says, but for its chunks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PackedFacts {
    /// File name of the manifest, in the folder of the image.
    pub manifest: String,
    /// Lower-case hexadecimal sha256 of the manifest: what is written has to have the same.
    pub manifest_sha256: String,
    /// The key that signed the manifest; `None` where no key is trusted.
    pub signed_by: Option<String>,
    /// Name of the image.
    pub name: String,
    /// Its release: grows with every one of this name.
    pub release: u64,
    /// What it runs on, like `x86_64`.
    pub architecture: String,
    /// Firmware that it can boot from: `bios`, `uefi`.
    pub firmware: Vec<String>,
    /// What the system in it can do, in words like `lvm`.
    pub features: Vec<String>,
    /// Type of the filesystem in it.
    pub filesystem: Option<String>,
    /// UUID of the filesystem in it, as blkid writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filesystem_uuid: Option<String>,
    /// Whether it is a disk with its partition table rather than one filesystem.
    pub whole_disk: bool,
    /// Bytes in a sector of the disks that it was made for.
    pub sector_size_bytes: Bytes,
    /// Size of a chunk.
    pub chunk_size_bytes: Bytes,
    /// How many chunks there are.
    pub chunks: usize,
    /// What a full write fetches: all chunks that are not zero.
    pub fetch_bytes: Bytes,
    /// What a full write writes: the same unpacked.
    pub data_bytes: Bytes,
}

impl SourceFacts {
    /// Why an image is not written here, where only signed ones are or old releases are not; with what to do.
    pub fn rejected(
        &self,
        require_signature: bool,
        min_release: u64,
    ) -> Option<(String, &'static str)> {
        let packed = self.packed.as_ref();
        let is_signed = packed.is_some_and(|packed| packed.signed_by.is_some());
        if require_signature && !is_signed {
            let (why, hint) = match packed {
                None if *self == Self::default() => (
                    "nothing is known of it",
                    "let it be looked at: run without `--offline`",
                ),
                None => (
                    "it is no packed image",
                    "pack it with `image-builder pack`, and sign it with `image-builder sign`",
                ),
                Some(_) => (
                    "no key is trusted",
                    "name the key with `trusted_key` in the ramdisk's /etc/provision.conf",
                ),
            };
            let what = "has to be signed by a key that is trusted here, and";
            return Some((format!("{what} {why}"), hint));
        }
        let packed = packed.filter(|packed| packed.release < min_release)?;
        let what = format!(
            "is release {} of `{}`, and {min_release} is the oldest that is written here",
            packed.release, packed.name
        );
        Some((
            what,
            "use a newer release, or lower `min_release` in the ramdisk",
        ))
    }

    /// Whether a digest of the written bytes is known.
    pub const fn has_digest(&self) -> bool {
        self.raw_md5.is_some() || self.raw_sha256.is_some()
    }
}
