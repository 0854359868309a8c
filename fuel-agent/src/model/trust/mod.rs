//! What an image was trusted by, and what speaks against trusting it.

mod policy;

use std::fmt;

use serde::{Deserialize, Serialize};

use super::digest::{Algorithm, Origin};
use super::sources::SourceFacts;
use super::url::RedactedUrl;
pub use policy::{ImagePolicy, MinRelease, Rejection};

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
mod tests;
