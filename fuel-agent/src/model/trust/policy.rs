//! What this node requires of images.

use std::collections::BTreeMap;

use crate::model::error::Kind;
use crate::model::sources::{PackedFacts, SourceFacts};
use crate::model::url::RedactedUrl;

/// The oldest releases of packed images that are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MinRelease {
    /// For every name.
    pub any: u64,
    /// For some names; the larger one of `any` and this counts.
    pub by_name: BTreeMap<String, u64>,
}

impl MinRelease {
    /// Oldest release of the images of this name.
    pub fn of(&self, name: &str) -> u64 {
        self.by_name.get(name).copied().unwrap_or(0).max(self.any)
    }
}

/// What this node requires of images. Set by the ramdisk; a request cannot weaken it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImagePolicy {
    /// Whether every image has to be signed by a trusted key.
    pub require_signature: bool,
    /// Oldest releases that are accepted.
    pub min_release: MinRelease,
    /// Whether an image that there is a [`Doubt`](super::Doubt) about is refused.
    pub strict: bool,
}

/// Why an image is not written here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Decides the exit status.
    pub kind: Kind,
    /// Message; follows the URL of the image.
    pub why: String,
    /// What to do about it.
    pub hint: &'static str,
}

impl ImagePolicy {
    /// Everything that keeps the image at `url` from being written.
    pub fn rejections(&self, url: &RedactedUrl, facts: &SourceFacts) -> Vec<Rejection> {
        // the release of an unsigned manifest is a claim
        let packed = facts.packed.as_ref();
        let first = self.unsigned(facts);
        let first = first.or_else(|| packed.and_then(|packed| self.too_old(packed)));
        let mut found: Vec<Rejection> = first.into_iter().collect();
        if self.strict {
            found.extend(facts.doubts(url).into_iter().map(|doubt| Rejection {
                kind: Kind::Refused,
                why: format!("{doubt}; `trust=strict` is set"),
                hint: doubt.hint(),
            }));
        }
        found
    }

    fn unsigned(&self, facts: &SourceFacts) -> Option<Rejection> {
        if !self.require_signature || facts.is_signed() {
            return None;
        }
        let (why, hint) = match &facts.packed {
            None if facts.is_unknown() => (
                "its signature is unknown",
                "image not checked: run without `--offline` and `--sources`",
            ),
            Some(_) => (
                "no trusted key has signed its manifest",
                "sign it with `image-builder sign`, and name the key with `trusted_key` in the ramdisk",
            ),
            None => (
                "no trusted key has signed metadata with its digest",
                "sign the metadata beside it (NAME.yaml) with `image-builder sign`, and name the key with \
                 `trusted_key` in the ramdisk",
            ),
        };
        Some(Rejection {
            kind: Kind::Image,
            why: format!("has to be signed by a key that is trusted here, and {why}"),
            hint,
        })
    }

    fn too_old(&self, packed: &PackedFacts) -> Option<Rejection> {
        let least = self.min_release.of(&packed.name);
        (packed.release < least).then(|| Rejection {
            kind: Kind::Image,
            why: format!(
                "is release {} of `{}`, and {least} is the oldest that is written here",
                packed.release, packed.name
            ),
            hint: "use a newer release, or lower `min_release` in the ramdisk",
        })
    }
}
