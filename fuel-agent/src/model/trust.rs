//! What an image was trusted by, what speaks against trusting it, and what this node requires of images.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::digest::{Algorithm, Origin};
use super::error::Kind;
use super::sources::{PackedFacts, SourceFacts};
use super::url::RedactedUrl;

/// The best evidence that an image is the one that was meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trust {
    /// A digest that the requester states: the request, `--digest`, a file of `--sources`.
    Request,
    /// The signature of a trusted key over the manifest or the metadata.
    Signature,
    /// A manifest or metadata beside the image, unsigned: it proves that the image arrived whole.
    SameServer,
    /// No digest is known.
    #[default]
    None,
}

impl Trust {
    /// Its name in report, plan and stamp.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Signature => "signature",
            Self::SameServer => "same-server",
            Self::None => "none",
        }
    }
}

/// What speaks against trusting an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// No digest is known.
    NoDigest,
    /// Image and digest come by plain http, and nothing else vouches for them.
    PlainHttp,
    /// What vouches for it is an md5, of which forgeries can be made.
    Md5Only,
}

impl Doubt {
    /// What to do about it.
    pub const fn hint(self) -> &'static str {
        match self {
            Self::NoDigest => "give its `sha256` in the request, or publish metadata beside it",
            Self::PlainHttp => {
                "give its `sha256` in the request, sign it with `image-builder sign`, or serve it by https"
            }
            Self::Md5Only => {
                "give its `sha256` in the request, or publish its metadata with `raw_sha256`"
            }
        }
    }
}

impl fmt::Display for Doubt {
    /// Follows the URL of the image.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoDigest => "comes without a digest",
            Self::PlainHttp => {
                "comes by plain http, and so does its digest: anything between server and node can replace both"
            }
            Self::Md5Only => "is vouched for by an md5 alone, of which forgeries can be made",
        })
    }
}

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
    /// Whether an image that there is a [`Doubt`] about is refused.
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

impl SourceFacts {
    /// The best evidence that the image is the one that was meant.
    pub fn trust(&self) -> Trust {
        let requested = |strong: bool| {
            let mut stated = self.stated.iter();
            stated.any(|it| it.origin == Origin::Requester && it.algorithm.is_strong() == strong)
        };
        if requested(true) {
            Trust::Request
        } else if self.is_signed() {
            Trust::Signature
        } else if requested(false) {
            Trust::Request
        } else if self.packed.is_some() || self.has_digest() {
            Trust::SameServer
        } else {
            Trust::None
        }
    }

    /// Whether a trusted key has signed what the image is compared with.
    pub fn is_signed(&self) -> bool {
        match &self.packed {
            Some(packed) => packed.signed_by.is_some(),
            None => self.signed_by.is_some(),
        }
    }

    /// What speaks against trusting the image at `url`.
    pub fn doubts(&self, url: &RedactedUrl) -> Vec<Doubt> {
        let trust = self.trust();
        let is_plain = self.is_by_plain_http(url);
        // what the server says counts where nothing between it and the node can change it
        let counts = |origin| match origin {
            Origin::Requester => true,
            Origin::Server => self.is_signed() || !is_plain,
        };
        let mut stated = self.stated.iter().filter(|it| counts(it.origin));
        let is_strong = stated.any(|it| it.algorithm.is_strong())
            || (counts(Origin::Server) && self.has_strong_claim());
        match trust {
            Trust::None => vec![Doubt::NoDigest],
            _ if is_strong => Vec::new(),
            Trust::SameServer if is_plain && self.has_strong_claim() => vec![Doubt::PlainHttp],
            Trust::SameServer if is_plain => vec![Doubt::PlainHttp, Doubt::Md5Only],
            Trust::Request | Trust::Signature | Trust::SameServer => vec![Doubt::Md5Only],
        }
    }

    /// Whether what its server states is stronger than md5: digests of the chunks, or of the whole.
    fn has_strong_claim(&self) -> bool {
        let mut stated = self.stated.iter();
        self.packed.is_some()
            || stated.any(|it| it.origin == Origin::Server && it.algorithm.is_strong())
            || (self.stated.is_empty() && (self.raw_sha256.is_some() || self.raw_blake3.is_some()))
    }

    /// Whether anything on the way can replace the image together with its digest: both come by plain http. What the
    /// chunks of a packed image come by does not matter, as its manifest has their digests.
    fn is_by_plain_http(&self, url: &RedactedUrl) -> bool {
        if let Some(packed) = self.packed.as_ref().filter(|it| !it.found_at.is_empty()) {
            return is_plain(&packed.found_at);
        }
        let mut stated = self.stated.iter();
        let document = stated.find(|it| it.origin == Origin::Server);
        is_plain(url.reveal()) && document.is_none_or(|it| is_plain(&it.stated_by))
    }
}

impl Algorithm {
    /// Whether it protects against forgery, not only against damage.
    pub const fn is_strong(self) -> bool {
        !matches!(self, Self::Md5)
    }
}

/// Whether an address is fetched without protection; what has no scheme is a path.
fn is_plain(address: &str) -> bool {
    let scheme = address.get(..7).unwrap_or_default();
    scheme.eq_ignore_ascii_case("http://")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::digest::StatedDigest;

    const KEY: &str = "57DD08A3D74587E8";

    fn stated(algorithm: Algorithm, by: &str) -> StatedDigest {
        let digest = "0".repeat(algorithm.digits());
        let stated = StatedDigest::new(algorithm, &digest, by);
        if by == "the request" {
            stated.requested()
        } else {
            stated
        }
    }

    fn stream(digests: &[(Algorithm, &str)]) -> SourceFacts {
        SourceFacts {
            stated: digests.iter().map(|(it, by)| stated(*it, by)).collect(),
            ..SourceFacts::default()
        }
    }

    fn packed(found_at: &str, signed: bool) -> SourceFacts {
        SourceFacts {
            packed: Some(PackedFacts {
                found_at: found_at.to_owned(),
                signed_by: signed.then(|| KEY.to_owned()),
                ..PackedFacts::default()
            }),
            ..SourceFacts::default()
        }
    }

    fn signed(facts: SourceFacts) -> SourceFacts {
        SourceFacts {
            signed_by: Some(KEY.to_owned()),
            ..facts
        }
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn what_an_image_is_trusted_by_and_what_speaks_against_it() {
        use Algorithm::{Blake3, Md5, Sha256};
        use Doubt::{Md5Only, NoDigest, PlainHttp};
        const HTTP: &str = "http://h/x.yaml";
        const TLS: &str = "https://h/x.yaml";
        const ASKED: &str = "the request";
        let table: [(&str, SourceFacts, Trust, &[Doubt]); 20] = [
            ("http", stream(&[]), Trust::None, &[NoDigest]),
            ("https", stream(&[]), Trust::None, &[NoDigest]),
            (
                "http",
                stream(&[(Sha256, HTTP)]),
                Trust::SameServer,
                &[PlainHttp],
            ),
            (
                "http",
                stream(&[(Md5, HTTP)]),
                Trust::SameServer,
                &[PlainHttp, Md5Only],
            ),
            ("http", stream(&[(Sha256, TLS)]), Trust::SameServer, &[]),
            ("https", stream(&[(Sha256, HTTP)]), Trust::SameServer, &[]),
            ("https", stream(&[(Blake3, TLS)]), Trust::SameServer, &[]),
            (
                "https",
                stream(&[(Md5, TLS)]),
                Trust::SameServer,
                &[Md5Only],
            ),
            (
                "file",
                stream(&[(Sha256, "/srv/x.yaml")]),
                Trust::SameServer,
                &[],
            ),
            (
                "HTTP",
                stream(&[(Sha256, HTTP)]),
                Trust::SameServer,
                &[PlainHttp],
            ),
            (
                "http",
                stream(&[(Md5, HTTP), (Sha256, ASKED)]),
                Trust::Request,
                &[],
            ),
            (
                "http",
                stream(&[(Sha256, HTTP), (Md5, ASKED)]),
                Trust::Request,
                &[Md5Only],
            ),
            (
                "https",
                stream(&[(Sha256, TLS), (Md5, ASKED)]),
                Trust::Request,
                &[],
            ),
            (
                "http",
                signed(stream(&[(Sha256, HTTP)])),
                Trust::Signature,
                &[],
            ),
            (
                "http",
                signed(stream(&[(Md5, HTTP)])),
                Trust::Signature,
                &[Md5Only],
            ),
            (
                "http",
                signed(stream(&[(Sha256, HTTP), (Md5, ASKED)])),
                Trust::Signature,
                &[],
            ),
            (
                "http",
                packed("http://h/x.manifest.json", false),
                Trust::SameServer,
                &[PlainHttp],
            ),
            (
                "http",
                packed("https://h/x.manifest.json", false),
                Trust::SameServer,
                &[],
            ),
            (
                "https",
                packed("http://m/x.manifest.json", false),
                Trust::SameServer,
                &[PlainHttp],
            ),
            (
                "http",
                packed("http://h/x.manifest.json", true),
                Trust::Signature,
                &[],
            ),
        ];
        for (scheme, facts, trust, doubts) in table {
            let url = RedactedUrl::from(format!("{scheme}://h/x.img"));
            assert_eq!(facts.trust(), trust, "{url} {facts:?}");
            assert_eq!(facts.doubts(&url), doubts, "{url} {facts:?}");
        }
    }

    #[test]
    fn strict_makes_each_doubt_a_refusal_of_policy() {
        let url = RedactedUrl::from("http://h/x.img");
        let facts = stream(&[(Algorithm::Md5, "http://h/x.yaml")]);
        let lenient = ImagePolicy::default();
        assert_eq!(lenient.rejections(&url, &facts), []);
        let strict = ImagePolicy {
            strict: true,
            ..ImagePolicy::default()
        };
        let rejections = strict.rejections(&url, &facts);
        assert_eq!(rejections.len(), 2);
        assert!(rejections.iter().all(|it| it.kind == Kind::Refused));
        let asked = stream(&[(Algorithm::Sha256, "the request")]);
        assert_eq!(strict.rejections(&url, &asked), []);
    }

    #[test]
    fn a_release_may_have_a_least_of_its_name() {
        let policy = ImagePolicy {
            min_release: MinRelease {
                any: 3,
                by_name: [("old".to_owned(), 1), ("debian".to_owned(), 7)].into(),
            },
            ..ImagePolicy::default()
        };
        let url = RedactedUrl::from("https://h/x.img.zst");
        for (name, release, is_taken) in [
            ("debian", 6, false),
            ("debian", 7, true),
            ("old", 2, false),
            ("other", 3, true),
        ] {
            let mut facts = packed("https://h/x.manifest.json", true);
            if let Some(packed) = &mut facts.packed {
                (packed.name, packed.release) = (name.to_owned(), release);
            }
            assert_eq!(
                policy.rejections(&url, &facts).is_empty(),
                is_taken,
                "{name} {release}"
            );
        }
    }
}
