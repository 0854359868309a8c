//! The small values of a manifest in their JSON form, bounded in length.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};

use super::{Filesystem, System};
use crate::hex;
use crate::index::Chunk;

/// Maximum number of words in a list.
const WORDS_LIMIT: usize = 64;

/// An operating system in JSON.
#[derive(Deserialize)]
pub(super) struct RawSystem {
    family: String,
    name: String,
    version: String,
    codename: String,
}

impl From<RawSystem> for System {
    fn from(raw: RawSystem) -> Self {
        Self {
            family: raw.family,
            name: raw.name,
            version: raw.version,
            codename: raw.codename,
        }
    }
}

/// A filesystem in JSON.
#[derive(Deserialize)]
pub(super) struct RawFilesystem {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    uuid: String,
}

impl From<RawFilesystem> for Filesystem {
    fn from(raw: RawFilesystem) -> Self {
        Self {
            kind: raw.kind,
            uuid: raw.uuid,
        }
    }
}

/// A chunk in JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawChunk {
    raw_offset: u64,
    raw_length: u32,
    packed_offset: u64,
    packed_length: u32,
    raw_blake3: Hex<32>,
    packed_blake3: Hex<32>,
    zero: bool,
}

impl From<RawChunk> for Chunk {
    fn from(raw: RawChunk) -> Self {
        Self {
            raw_offset: raw.raw_offset,
            raw_length: raw.raw_length,
            packed_offset: raw.packed_offset,
            packed_length: raw.packed_length,
            raw_digest: raw.raw_blake3.0,
            packed_digest: raw.packed_blake3.0,
            zero: raw.zero,
        }
    }
}

/// A value that may be null, as distinct from an absent key.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Nullable<T>(pub(super) Option<T>);

/// Bytes, as hexadecimal.
pub(super) struct Hex<const N: usize>(pub(super) [u8; N]);

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Digits<const N: usize>;
        impl<const N: usize> Visitor<'_> for Digits<N> {
            type Value = Hex<N>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{N} bytes in hexadecimal")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Hex<N>, E> {
                let wrong = || E::invalid_value(de::Unexpected::Other("other text"), &self);
                hex::parse(text).map(Hex).ok_or_else(wrong)
            }
        }
        json.deserialize_str(Digits)
    }
}

/// A list of at most [`WORDS_LIMIT`] words.
pub(super) struct Words(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Words;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {WORDS_LIMIT} words")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Words, A::Error> {
                let mut words = Vec::new();
                while let Some(word) = seq.next_element()? {
                    if words.len() >= WORDS_LIMIT {
                        return Err(de::Error::invalid_length(
                            words.len().saturating_add(1),
                            &self,
                        ));
                    }
                    words.push(word);
                }
                Ok(Words(words))
            }
        }
        json.deserialize_seq(List)
    }
}
